#!/usr/bin/env python3
"""Write what follows from data: parameter tables, the index of procedures, AWX job templates, pages of the roles.

  .venv/bin/python tools/gen_docs.py            write
  .venv/bin/python tools/gen_docs.py --check    write nothing; exit 1 and name the files that are stale

Files: docs/procedures/<name>.md (only the part between the markers; a missing page gets a skeleton),
docs/procedures/README.md, awx/job_templates.yml, from playbooks/*.meta.yml; roles/<role>/README.md from its argument
specs and its catalogue entry, and a Molecule scenario molecule/role_<role>/; docs/developer/roles.md from all entries.
Exit code: 0 up to date or written, 1 stale files or a mistake in a meta file, 2 wrong use.
"""

import argparse
import os
import pathlib
import re
import shlex
import sys
import textwrap

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN = "<!-- generated from playbooks/%s.meta.yml -->"
END = "<!-- end generated -->"
SURVEY_TYPES = {"str": "text", "path": "text", "int": "integer", "float": "float",
                "bool": "multiplechoice", "list": "text"}
PYTHON_TYPES = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
META_KEYS = {"short_description", "description", "parameters", "examples", "changes"}
SPEC_KEYS = {"type", "elements", "required", "default", "choices", "description"}


class Mistake(Exception):
    """A meta file that cannot be used; the text has one line per problem."""


def common_parameters():
    """Parameters of every procedure, as the collection itself knows them."""
    collections = ROOT / ".cache/collections"
    link = collections / "ansible_collections/circonus/inside"
    if not link.is_dir():
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(os.path.relpath(ROOT, link.parent.resolve()))
    if str(collections) not in sys.path:
        sys.path.insert(0, str(collections))
    from ansible_collections.circonus.inside.plugins.plugin_utils import procedure

    return procedure.COMMON_PARAMETERS


def words(text):
    """Text or a list of paragraphs as one line."""
    return " ".join(" ".join(text if isinstance(text, list) else [str(text or "")]).split())


def read_metas(directory):
    """{procedure: meta} of all meta files; raises Mistake with every problem of every file."""
    metas, problems = {}, []
    for path in sorted(directory.glob("*.meta.yml")):
        name = path.name[: -len(".meta.yml")]
        try:
            meta = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            problems.append("%s: not YAML: %s" % (path.name, words(error)))
            continue
        found = check_meta(name, meta)
        if not (directory / (name + ".yml")).is_file():
            found.append("expected a playbook %s.yml beside it" % name)
        problems.extend("%s: %s" % (path.name, problem) for problem in found)
        metas[name] = meta
    if problems:
        raise Mistake("\n".join(problems))
    return metas


def check_meta(name, meta):
    """Problems of one meta file as sentences."""
    if not isinstance(meta, dict):
        return ["expected a mapping, found %s" % type(meta).__name__]
    problems = ["unknown key %s" % key for key in sorted(set(meta) - META_KEYS)]
    if not isinstance(meta.get("short_description"), str):
        problems.append("short_description: expected text")
    if not isinstance(meta.get("changes"), bool):
        problems.append("changes: expected true or false")
    description = meta.get("description")
    if not isinstance(description, list) or not all(isinstance(line, str) for line in description):
        problems.append("description: expected a list of paragraphs")
    parameters = meta.get("parameters") or {}
    if not isinstance(parameters, dict):
        return problems + ["parameters: expected a mapping"]
    for parameter, spec in parameters.items():
        problems.extend("parameters.%s: %s" % (parameter, problem) for problem in check_spec(spec))
    return problems + check_examples(name, meta.get("examples"), set(parameters) | set(common_parameters()))


def check_spec(spec):
    """Problems of one parameter."""
    if not isinstance(spec, dict):
        return ["expected a mapping, found %s" % type(spec).__name__]
    problems = ["unknown key %s" % key for key in sorted(set(spec) - SPEC_KEYS)]
    kind = PYTHON_TYPES.get(spec.get("type"))
    if kind is None:
        return problems + ["type: expected one of %s, found %r" % (", ".join(PYTHON_TYPES), spec.get("type"))]
    if not words(spec.get("description")):
        problems.append("description: missing")
    default, choices = spec.get("default"), spec.get("choices")
    if default is not None and (not isinstance(default, kind) or (kind is int and isinstance(default, bool))):
        problems.append("default: expected %s, found %r" % (spec["type"], default))
    if choices is not None and not (isinstance(choices, list) and all(isinstance(c, kind) for c in choices)):
        problems.append("choices: expected a list of %s (quote numbers)" % spec["type"])
    elif choices and default is not None and default not in choices:
        problems.append("default: expected one of the choices, found %r" % default)
    if spec.get("required") and default is not None:
        problems.append("default: a required parameter has none")
    return problems


def check_examples(name, examples, known):
    """Problems of the examples: each is a command of this playbook with parameters that exist."""
    if not isinstance(examples, list) or not examples:
        return ["examples: expected at least one with name and command"]
    problems = []
    for number, example in enumerate(examples):
        where = "examples[%d]" % number
        if not isinstance(example, dict) or set(example) != {"name", "command"}:
            problems.append("%s: expected name and command" % where)
            continue
        try:
            argv = shlex.split(words(example["command"]))
        except ValueError as error:
            problems.append("%s.command: %s" % (where, error))
            continue
        if not {"playbooks/%s.yml" % name, "circonus.inside.%s" % name} & set(argv):
            problems.append("%s.command: expected playbooks/%s.yml or circonus.inside.%s in it" % (where, name, name))
        strange = [parameter for parameter in extra_variables(argv) if parameter not in known]
        problems.extend("%s.command: unknown parameter %s" % (where, parameter) for parameter in strange)
    return problems


def extra_variables(argv):
    """Names of the variables that a command sets with -e, as name=value or as a mapping."""
    names = []
    for flag, value in zip(argv, argv[1:], strict=False):
        if flag not in ("-e", "--extra-vars") or value.startswith("@"):
            continue
        if value.startswith("{"):
            names.extend(yaml.safe_load(value))
        else:
            names.append(value.split("=")[0])
    return names


# Markdown


def cell(text):
    """Text for a cell of a Markdown table."""
    return words(text).replace("|", "\\|").replace("<", "&lt;")


def code(value):
    """A value as code."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, (list, dict)):
        value = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return "`%s`" % (str(value).replace("|", "\\|") or '""')


def parameter_table(parameters):
    """Markdown table of parameters."""
    lines = ["| Parameter | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, spec in parameters.items():
        default = "**required**" if spec.get("required") else ""
        if spec.get("default") is not None:
            default = code(spec["default"])
        meaning = cell(spec["description"])
        if spec.get("choices"):
            meaning += " One of %s." % ", ".join(code(choice) for choice in spec["choices"])
        lines.append("| `%s` | %s | %s | %s |" % (name, spec["type"], default, meaning))
    return lines


def generated_part(name, meta):
    """The part of a page that follows from the meta file, markers included."""
    lines = [BEGIN % name, "", "## Parameters", ""]
    if meta.get("parameters"):
        lines += parameter_table(meta["parameters"]) + [""]
    else:
        lines += ["None of its own.", ""]
    lines += ["Parameters that every procedure knows: [README.md](README.md#parameters-of-every-procedure).", ""]
    if meta["changes"]:
        lines += ["Changes the platform; with `--check` it prints what it would do and changes nothing.", ""]
    else:
        lines += ["Changes nothing on the platform.", ""]
    lines += ["## Examples", ""]
    for example in meta["examples"]:
        lines += [words(example["name"]).rstrip(".:") + ":", "", "```sh", folded(words(example["command"])), "```", ""]
    return "\n".join(lines + [END])


def folded(command):
    """A long command on several lines, broken before its options."""
    lines = [""]
    for part in re.split(r" (?=-)", command):
        if lines[-1] and len(lines[-1]) + len(part) > 100:
            lines.append("  " + part)
        else:
            lines[-1] += (" " if lines[-1] else "") + part
    return " \\\n".join(lines)


def sentence(text):
    """Text that ends with a full stop."""
    text = words(text)
    return text if text.endswith(".") else text + "."


def page(name, meta, present):
    """The whole page: ``present`` with its generated part replaced, or a skeleton where there is none."""
    part = generated_part(name, meta)
    if present is None:
        paragraphs = ["# %s" % name, sentence(meta["short_description"])]
        paragraphs += [textwrap.fill(words(paragraph), 120) for paragraph in meta["description"]]
        return "\n\n".join([*paragraphs, part]) + "\n"
    begin, end = BEGIN % name, END
    if begin not in present:
        return present.rstrip("\n") + "\n\n" + part + "\n"
    head, rest = present.split(begin, 1)
    if end not in rest:
        raise Mistake("docs/procedures/%s.md: expected the line %s after %s" % (name, end, begin))
    return head + part + rest.split(end, 1)[1]


def index(metas):
    """docs/procedures/README.md."""
    lines = [
        "# Procedures", "",
        "A procedure is one playbook. It checks its parameters and asks the platform how it stands; one that changes",
        "something also takes the lock of the platform and prints its plan. It stops with one sentence when something",
        "is not as it must be. Running the same command again finishes a run that was interrupted. Every run ends with",
        "a [report](../report.md). Where the collection is installed, write `circonus.inside.<procedure>` in place of",
        "`playbooks/<procedure>.yml`.", "",
        "```sh",
        "ansible-playbook -i inventories/my playbooks/<procedure>.yml -e <parameter>=<value> --check   # the plan only",
        "ansible-playbook -i inventories/my playbooks/<procedure>.yml -e <parameter>=<value>", "```", "",
        "The exit code is 0 when the result is `ok` or `nothing_to_do`; otherwise it is not 0.", "",
        "| Procedure | What it does | Changes the platform |", "|---|---|---|",
    ]
    for name, meta in metas.items():
        lines.append("| [%s](%s.md) | %s | %s |" % (
            name, name, cell(meta["short_description"]), "yes" if meta["changes"] else "no"))
    lines += ["", "## Parameters of every procedure", ""]
    lines += parameter_table(common_parameters())
    lines += [
        "", "## In AWX", "",
        "`awx/job_templates.yml` holds one job template per procedure with a survey of its parameters.",
        "Create them with the collection `awx.awx`:", "",
        "```yaml",
        "- name: Create a job template for every procedure",
        "  awx.awx.job_template:",
        "    name: \"{{ item.name }}\"",
        "    description: \"{{ item.description }}\"",
        "    organization: Operations",
        "    project: circonus.inside",
        "    inventory: Circonus",
        "    credentials: [Circonus hosts]",
        "    playbook: \"{{ item.playbook }}\"",
        "    job_type: \"{{ item.job_type }}\"",
        "    forks: \"{{ item.forks }}\"",
        "    ask_job_type_on_launch: true",
        "    ask_variables_on_launch: true",
        "    survey_enabled: \"{{ item.survey_enabled }}\"",
        "    survey_spec: \"{{ item.survey_spec }}\"",
        "  loop: \"{{ (lookup('ansible.builtin.file', job_templates_file) | from_yaml).circonus_job_templates }}\"",
        "  vars:",
        "    job_templates_file: awx/job_templates.yml",
        "```", "",
        "A job runs in check mode when its type is set to *Check* at launch. Parameters that hold a mapping are not in",
        "the survey; give them as extra variables.", "",
        "This page is written by `tools/gen_docs.py` from `playbooks/*.meta.yml`.",
    ]
    return "\n".join(lines) + "\n"


# AWX


class Dumper(yaml.SafeDumper):
    """Block style as the linters of this repository want it."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


def question(name, spec):
    """One question of a survey, in the shape of AWX's survey_spec."""
    kind = SURVEY_TYPES[spec["type"]]
    choices, default = spec.get("choices"), spec.get("default")
    if spec["type"] == "bool":
        choices, default = ["true", "false"], "" if default is None else str(default).lower()
    elif spec["type"] == "list":
        default = ", ".join(map(str, default or []))
    if choices:
        kind = "multiplechoice"
    description = words(spec["description"])
    if spec["type"] == "list":
        description += " Several values: separated by commas."
    entry = {
        "variable": name,
        "question_name": name,
        "question_description": description,
        "type": kind,
        "required": bool(spec.get("required")),
        "default": "" if default is None else default,
    }
    if choices:
        entry["choices"] = [str(choice) for choice in choices]
    return entry


def job_templates(metas):
    """awx/job_templates.yml."""
    templates = []
    for name, meta in metas.items():
        spec = [question(parameter, values) for parameter, values in (meta.get("parameters") or {}).items()
                if values["type"] in SURVEY_TYPES]
        templates.append({
            "name": "Circonus: %s" % name,
            "description": sentence(meta["short_description"]),
            "playbook": "playbooks/%s.yml" % name,
            "job_type": "run",
            "forks": 20,
            "survey_enabled": bool(spec),
            "survey_spec": dict(name=name, description=sentence(meta["short_description"]), spec=spec) if spec else {},
        })
    document = {"circonus_job_templates": templates}
    text = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return "---\n# Written by tools/gen_docs.py from playbooks/*.meta.yml. Use: docs/procedures/README.md\n" + text


# Roles


def table(columns, rows):
    """Markdown table without the columns that have no value in any row; [] without rows."""
    keep = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    if not rows:
        return []
    lines = ["| %s |" % " | ".join(columns[number] for number in keep), "|%s" % ("---|" * len(keep))]
    return lines + ["| %s |" % " | ".join(row[number] for number in keep) for row in rows] + [""]


def codes(values):
    """Values as code, separated by commas."""
    return ", ".join(code(value) for value in values)


def when(item):
    """Remarks on an item that tables share: releases, source, note."""
    found = []
    if item.get("from"):
        found.append("from release %s" % item["from"])
    if item.get("until"):
        found.append("until release %s" % item["until"])
    if item.get("source") == "later":
        found.append("later edition of the manual")
    elif item.get("source"):
        found.append({"public": "public source code", "2019": "edition 2019 only"}[item["source"]])
    if item.get("note"):
        found.append(item["note"])
    return found


def remarks(*parts):
    """Cell with the remarks that are not empty."""
    return cell("; ".join(part for part in parts if part))


def unit_rows(entry):
    """Rows for the units and processes of a catalogue entry."""
    rows = []
    for unit in entry["units"]:
        life = unit.get("life", {})
        log = life.get("log")
        rows.append([
            "`%s`" % unit["id"],
            " or ".join(code(name) for name in unit["candidates"] + unit.get("patterns", [])),
            ", ".join(map(str, unit.get("ports", []))),
            remarks(
                "page %s" % life["endpoint"] if life.get("endpoint") else "",
                "%s times %s in %s" % (log.get("count", 1), code(log["pattern"]), code(log["file"])) if log else "",
                "within %s s" % life["seconds"] if life.get("seconds") else "",
            ),
            codes(unit.get("logs", [])),
            remarks(
                "program %s" % unit["process"] if unit.get("process") else "",
                "parent and child of the same program" if unit.get("watchdog") else "",
                "must be there" if unit.get("required") else "",
                "only where enabled" if unit.get("enabled_only") else "",
                "instead of %s" % unit["alternative_to"] if unit.get("alternative_to") else "",
                "OmniOS: %s" % code(unit["omnios"]) if unit.get("omnios") else "",
                *when(unit),
            ),
        ])
    for process in entry.get("processes", []):
        pair = "parent and child of the same program" if process.get("watchdog") else ""
        rows.append(["`%s`" % process["id"], "process, found by %s" % code(process["match"]),
                     str(process.get("port", "")), "", "", remarks(pair, *when(process))])
    return rows


def tls(value):
    """Whether TLS is spoken, in a word."""
    return {True: "yes", False: "no"}.get(value, "")


def connection_rows(entry):
    """Rows for the connections of a catalogue entry."""
    rows = []
    for way, end in (("out", "to"), ("in", "from")):
        for link in entry["connections"][way]:
            port = "any" if link["port"] is None else str(link["port"])
            peer = link[end]
            rest = {key: value for key, value in link.items() if key != end}
            rows.append(["%s %s" % (end, peer), port, rest["proto"],
                         remarks(", ".join(rest.get("hosts", [])), *when(rest))])
    return rows


def dependants(role, edition, root):
    """What is restarted after ``role``, in words; None when it stands in no chain."""
    with open(root / "roles/service/vars/main.yml", encoding="utf-8") as handle:
        chains = yaml.safe_load(handle)["service_dependants"]
    if role not in chains:
        return None
    steps = ["%s%s" % (link["role"], " (%s)" % ", ".join(link["only"]) if link.get("only") else "")
             for link in chains[role][edition]]
    return ", then ".join(steps) or "nothing"


def catalogue_part(role, entry, root):
    """The part of a role's page that follows from its catalogue entry."""
    lines = ["## What is known of it", "", sentence(entry["purpose"]), ""]
    facts = ["Needs: %s." % (", ".join(entry["requires"]) or "no other role")]
    if entry.get("user"):
        facts.append("Account: %s." % code(entry["user"]))
    if entry.get("passive"):
        facts.append("In a standby site: %s." % entry["passive"])
    if when(entry.get("releases", {})):
        facts.append("There %s." % " and ".join(when(entry["releases"])))
    sizing = entry.get("sizing", {})
    size = ["%s %s" % (sizing[key], word) for key, word in (("cpu_cores", "cores"), ("ram_gb", "GB of memory"),
                                                            ("disk_gb", "GB of disk")) if sizing.get(key)]
    if sizing.get("bare_metal"):
        size.append("on bare metal")
    if size:
        facts.append("Size: %s (later edition of the manual)." % ", ".join(size))
    lines += ["- " + fact for fact in facts]
    for edition in ("2019", "later"):
        chain = dependants(role, edition, root)
        if chain:
            lines.append("- Restarted after it, edition %s: %s." % (edition, chain))
    lines.append("")

    parts = [("Units, in start order", table(
        ["Id", "Unit", "Listens on", "Sign of life", "Logs", "Remarks"], unit_rows(entry)))]
    parts.append(("Ports", table(["Port", "Unit", "Clients", "Address", "TLS", "Remarks"], [
        ["%s/%s" % (port["port"], port["proto"]), "`%s`" % port["unit"] if port["unit"] else "",
         ", ".join(port["clients"]), port["bind"], tls(port.get("tls")),
         remarks("may be closed" if port.get("optional") else "",
                 "held for the role by Hooper" if port.get("reserved") else "", *when(port))]
        for port in entry["ports"]])))
    parts.append(("Pages", table(["Page", "Address", "Unit", "Answers", "Must hold", "Content", "Remarks"], [
        ["`%s`" % page["id"],
         "`http%s://%s:%d%s`" % ("s" if page["tls"] else "", "localhost" if page["bind"] == "local" else "<host>",
                                 page["port"], page["path"]),
         "`%s`" % page["unit"], ", ".join(map(str, page["status"])), codes(page["sections"]), cell(page["returns"]),
         remarks(*when(page))]
        for page in entry["endpoints"]])))
    parts.append(("Calls", table(["Call", "Port", "Result", "Remarks"], [
        [code("%s %s" % (call["method"], call["path"])), str(call["port"]), cell(call["returns"]),
         remarks("TLS" if call.get("tls") else "", "with a client certificate" if call.get("certificate") else "",
                 *when(call))]
        for call in entry.get("calls", [])])))
    parts.append(("Consoles", table(["Console", "Port", "Unit", "Address", "Commands", "Remarks"], [
        ["`%s`" % console["id"], str(console["port"]), "`%s`" % console["unit"], console["bind"],
         codes(console["commands"]), remarks(*when(console))]
        for console in entry.get("consoles", [])])))
    files = [[kind, codes(paths)] for kind, paths in entry["paths"].items() if paths]
    files += [[kind, codes(entry[key])] for kind, key in (
        ("needs room", "space"), ("logs", "logs"), ("log directories", "log_directories"),
        ("trouble in logs", "log_errors")) if entry.get(key)]
    if entry.get("log_rotation"):
        files.append(["log rotation", cell(entry["log_rotation"])])
    parts.append(("Files", table(["Kind", "Files"], files)))
    pki = entry["pki"]
    parts.append(("Certificates", table(["Kind", "Value"], [
        [cell(key.replace("_", " ")), codes(value if isinstance(value, list) else [value])]
        for key, value in pki.items() if value and key not in ("from", "until")]
        + [["releases", remark] for remark in when({key: pki.get(key) for key in ("from", "until")})])))
    parts.append(("Jobs", table(["Job", "When", "Account", "Program", "Purpose", "Remarks"], [
        ["`%s`" % job["id"], code(job["schedule"]) if job["schedule"] else "", job["user"] or "",
         code(job["script"]) if job["script"] else "", cell(job["purpose"]), remarks(*when(job))]
        for job in entry.get("cron", [])])))
    parts.append(("Queries", table(["Query", "SQL", "Purpose"], [
        ["`%s`" % query["id"], code(query["query"]), cell(query["purpose"])] for query in entry.get("sql", [])])))
    parts.append(("Commands", table(["System", "Command", "Purpose", "Remarks"], [
        [command["os"], code(command["run"]), cell(command["purpose"]), remarks(*when(command))]
        for command in entry.get("commands", [])])))
    parts.append(("Not on one host with", table(["Role", "Port", "Basis", "Remarks"], [
        [conflict["role"], str(conflict["port"]), conflict["basis"], remarks(*when(conflict))]
        for conflict in entry.get("conflicts", [])])))
    parts.append(("Connections", table(["Peer", "Port", "Protocol", "Remarks"],
                                       connection_rows(entry) if entry.get("connections") else [])))
    parts.append(("Also known", table(["Subject", "Fact"], [
        [cell(key), cell(value)] for key, value in entry.get("facts", {}).items()])))
    parts.append(("Releases", table(["Release", "Change"], [
        [release, cell(change)] for release, change in entry.get("history", {}).items()])))
    for title, rows in parts:
        if rows:
            lines += ["### " + title, "", *rows]
    if entry.get("notes"):
        lines += ["### To remember", ""]
        lines += [textwrap.fill(cell(note), 118, initial_indent="- ", subsequent_indent="  ")
                  for note in entry["notes"]] + [""]
    lines.append("This part is written by `tools/gen_docs.py` from `vars/main.yml`.")
    return lines


def overview(entries):
    """docs/developer/roles.md: all roles in one table."""
    common_parameters()
    from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

    lines = [
        "# Roles in run order", "",
        "A role stands after what it needs. Written by `tools/gen_docs.py` from the catalogue entries.", "",
    ]
    rows = [
        ["[%s](../../roles/%s/README.md)" % (role, role), str(catalogue.stage(role)), cell(entries[role]["purpose"]),
         codes(name for unit in entries[role]["units"] for name in unit["candidates"]),
         ", ".join("%s/%s" % (port["port"], port["proto"]) for port in entries[role]["ports"]
                   if not port.get("optional")),
         ", ".join(entries[role]["requires"])]
        for role in catalogue.run_order(entries)
    ]
    lines += table(["Role", "Stage of Hooper", "Purpose", "Units", "Ports", "Needs"], rows)
    clashes = catalogue.port_clashes(list(entries), entries)
    lines += ["## Roles that cannot share a host", ""]
    lines += table(["Roles", "Port"], [[", ".join(clash["roles"]), "%(port)s/%(proto)s" % clash] for clash in clashes])
    return "\n".join(lines).rstrip("\n") + "\n"


# Files

SCENARIO = """---
# The role %(role)s alone, on containers that stay: of the lab %(lab)s, or the one that LAB_PROJECT names.
# Written by tools/gen_docs.py.
dependency:
  enabled: false
driver:
  name: default
platforms:
  - name: controller
    lab: {edition: "%(edition)s"}
    tests: tests/testinfra/roles/test_roles_alone.py
provisioner:
  name: ansible
  playbooks:
    create: ../shared/create.yml
    prepare: ../shared/prepare.yml
    converge: converge.yml
    verify: ../shared/verify.yml
    destroy: ../shared/destroy.yml
  ansible_args:
    - --inventory=${MOLECULE_PROJECT_DIRECTORY}/.cache/lab/${LAB_PROJECT:-%(lab)s}/inventory/lab.site.yml
  env:
    CIRCONUS_ROLE: %(role)s
    LAB_PROJECT: ${LAB_PROJECT:-%(lab)s}
    ANSIBLE_COLLECTIONS_PATH: ${MOLECULE_PROJECT_DIRECTORY}/.cache/collections
    ANSIBLE_HOME: ${MOLECULE_PROJECT_DIRECTORY}/.cache/ansible
    ANSIBLE_INVENTORY_ENABLED: circonus.inside.site,host_list,auto,yaml,ini
scenario:
  test_sequence: [create, prepare, converge, idempotence, verify]
prerun: false
"""
ALONE = """---
- name: Converge %(role)s
  hosts: %(hosts)s
  gather_facts: false
  roles: [circonus.inside.%(role)s]
"""


def scenario(role, entry):
    """{file name: text} of the Molecule scenario of a role. What newer releases do not have is in the older edition."""
    old = bool((entry.get("releases") or {}).get("until"))
    facts = {
        "role": role,
        "hosts": {"broker": "brokers"}.get(role, role),
        "edition": "2019" if old else "later",
        "lab": "molroles2019" if old else "molroles",
    }
    return {"molecule.yml": SCENARIO % facts, "converge.yml": ALONE % facts}


def role_page(directory, root=ROOT):
    """README.md of a role, from its meta data, argument specs and catalogue entry."""
    with open(os.path.join(directory, "meta", "main.yml"), encoding="utf-8") as handle:
        info = yaml.safe_load(handle)["galaxy_info"]
    with open(os.path.join(directory, "meta", "argument_specs.yml"), encoding="utf-8") as handle:
        entries = yaml.safe_load(handle)["argument_specs"]
    lines = ["# circonus.inside.%s" % os.path.basename(directory), "", sentence(info["description"]), ""]
    for name, entry in entries.items():
        text = entry.get("description") or []
        text = [text] if isinstance(text, str) else text
        lines += ["## Entry point `%s`" % name, "", sentence(entry["short_description"]), ""]
        lines += [textwrap.fill(sentence(words(paragraph)), 118, initial_indent="- ", subsequent_indent="  ")
                  for paragraph in text] + [""]
        if entry.get("options"):
            lines += ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
            for option, spec in flat_options(entry["options"]):
                default = "**required**" if spec.get("required") else code(spec["default"]) if "default" in spec else ""
                meaning = spec.get("description") or ""
                meaning = " ".join(meaning) if isinstance(meaning, list) else meaning
                lines.append("| `%s` | %s | %s | %s |" % (option, spec.get("type", "str"), default, cell(meaning)))
            lines.append("")
    role = os.path.basename(directory)
    entry = read_entries(pathlib.Path(directory).parent).get(role)
    if entry:
        lines += catalogue_part(role, entry, root)
    return "\n".join(lines).rstrip("\n") + "\n"


def flat_options(options, prefix=""):
    """[(name, spec)] of options and their suboptions, the latter as parent.name."""
    for name, spec in options.items():
        yield prefix + name, spec
        yield from flat_options(spec.get("options") or {}, prefix + name + ".")


def read_entries(roles):
    """{role: catalogue entry} of a directory with roles; raises Mistake for entries of another form."""
    common_parameters()
    from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

    entries = catalogue.load(str(roles))
    wrong = [problem for entry in entries.values() for problem in catalogue.problems(entry, list(entries))]
    wrong += catalogue.order_problems(entries) if not wrong else []
    if wrong:
        raise Mistake("\n".join(wrong))
    return entries


def outputs(root):
    """{path: text} of every generated file."""
    metas = read_metas(root / "playbooks")
    files = {}
    for name, meta in metas.items():
        path = root / "docs/procedures" / (name + ".md")
        files[path] = page(name, meta, path.read_text(encoding="utf-8") if path.is_file() else None)
    files[root / "docs/procedures/README.md"] = index(metas)
    files[root / "awx/job_templates.yml"] = job_templates(metas)
    for specs in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        files[specs.parents[1] / "README.md"] = role_page(str(specs.parents[1]), root)
    entries = read_entries(root / "roles") if (root / "roles").is_dir() else {}
    if entries:
        files[root / "docs/developer/roles.md"] = overview(entries)
    for role, entry in entries.items():
        for name, text in scenario(role, entry).items():
            files[root / "molecule" / ("role_" + role) / name] = text
    return files


def stale(files):
    """Paths whose content differs from what it should be."""
    return [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main(argv=None, root=ROOT):
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is stale")
    options = parser.parse_args(argv)
    try:
        files = outputs(root)
    except Mistake as error:
        print(error, file=sys.stderr)
        return 1
    changed = stale(files)
    for path in changed:
        name = path.relative_to(root)
        if options.check:
            print("%s is stale; run: .venv/bin/python tools/gen_docs.py" % name, file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        print("written: %s" % name)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
