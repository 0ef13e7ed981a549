# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a module that only looks without the frame that Ansible puts around a module.

For a look at a whole platform the frame (an archive made for each host, unpacked and imported there) costs more than
the look. Here the source that the look needs goes through the standard input of one Python on the host, made once for
all hosts. The module stays the reference: its argument spec is applied here on the controller, and where this way is
not open (no pipelining, an interpreter that is yet to be discovered, ``environment``, ``delegate_to``) the module is
run.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import time
import zlib
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.circonus.inside.plugins import module_utils
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

PACKAGE = module_utils.__name__
#: An import of Ansible or of a collection: module and names. Parsing the source would take as long as asking a host.
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+(ansible[\w.]*)(?:[ \t]+import[ \t]+(\([^)]*\)|[^\n(]+))?", re.M)
#: Seconds. A connection that ssh keeps can end while it is used, which says nothing of the host: what fails sooner is
#: tried again by a new one. A host that is silent takes longer to say so.
_KEPT_S = 3.0
#: Before the answer, whatever the host's login may print.
MARK = "circonus.inside.direct:"
#: Isolated (-I): no file beside the login's directory and no PYTHON* variable may change what is run.
_START = "import sys, zlib; z = zlib.decompressobj(); exec(z.decompress(sys.stdin.buffer.read()))"
#: What the host runs, on Python 3.6 too. {0}: what is the same for all hosts, as JSON. ``z`` keeps what follows it.
_FRAME = '''
import json, sys
from importlib.machinery import ModuleSpec

REQUEST = json.loads({0!r})
PARAMS = json.loads(zlib.decompress(z.unused_data).decode("ascii"))


class Sources(object):
    def find_spec(self, name, path=None, target=None):
        if name in REQUEST["sources"]:
            return ModuleSpec(name, self, is_package=not REQUEST["sources"][name])

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        exec(compile(REQUEST["sources"][name], name, "exec"), module.__dict__)


sys.meta_path.insert(0, Sources())
errors = __import__(REQUEST["package"] + ".errors", fromlist=["x"])
try:
    answer = __import__(REQUEST["package"] + "." + REQUEST["name"], fromlist=["x"]).collect(PARAMS)
except errors.InsideError as error:
    answer = dict(error.details, failed=True, msg=str(error), refused=isinstance(error, errors.Refused))
sys.stdout.write("\\n" + REQUEST["mark"] + json.dumps(answer) + "\\n")
sys.stdout.flush()
'''


def imports(text: str) -> list:
    """Names of ``module_utils`` that a source imports, late imports too. Raises BadInput for another one of Ansible."""
    found = []
    for module, names in _IMPORT.findall(text):
        if module == PACKAGE:
            found += [name.split()[0] for name in names.strip("()").replace("\n", " ").split(",") if name.strip()]
        elif module.startswith(PACKAGE + "."):
            found.append(module[len(PACKAGE) + 1:])
        else:
            raise BadInput("an import of %s" % module)
    return found


def sources(name: str) -> dict:
    """``{full module name: source}`` of ``module_utils.<name>``, of ``errors`` and of all of the collection's own that
    they import, also late; packages have an empty source. Raises BadInput for an import that the host may not have."""
    found = {".".join(PACKAGE.split(".")[:depth]): "" for depth in range(1, len(PACKAGE.split(".")) + 1)}
    todo = [name, "errors"]
    while todo:
        item = todo.pop()
        if "%s.%s" % (PACKAGE, item) in found:
            continue
        text = (Path(module_utils.__path__[0]) / (item + ".py")).read_text(encoding="utf-8")
        found["%s.%s" % (PACKAGE, item)] = text
        try:
            todo += imports(text)
        except BadInput as error:
            raise BadInput("Expected only the standard library and the collection's own in module_utils/%s.py, found "
                           "%s. Run it as a module." % (item, error)) from error
    return found


class Look:
    """One module that only looks: ``module``, and ``module_utils.<source>`` with its ``ARGUMENTS`` (argument spec) and
    ``collect(params)``. Make it where the action is imported, so that it is made once and not in the worker of each
    host."""

    def __init__(self, module: str, source: str):
        self.module = module
        self.spec = importlib.import_module("%s.%s" % (PACKAGE, source)).ARGUMENTS
        request = {"package": PACKAGE, "name": source, "mark": MARK, "sources": sources(source)}
        self.code = zlib.compress(_FRAME.format(json.dumps(request)).encode("ascii"))

    def program(self, arguments: dict) -> bytes:
        """What the host's Python reads from its standard input. Raises BadInput for arguments against the spec."""
        checked = ArgumentSpecValidator(self.spec).validate(arguments)
        if checked.error_messages:
            raise BadInput("%s: %s" % (self.module, "; ".join(checked.error_messages)))
        return self.code + zlib.compress(json.dumps(checked.validated_parameters).encode("ascii"))

    def run(self, action, arguments: dict, task_vars: dict) -> dict:
        """The module's answer as an action's ``_execute_module`` returns it. Raises what a connection raises."""
        interpreter = action._templar.template(task_vars.get("ansible_python_interpreter"))
        task = action._task
        if (not str(interpreter or "").startswith("/") or any(task.environment or ()) or task.delegate_to
                or not action._is_pipelining_enabled("new")):
            return action._execute_module(module_name=self.module, module_args=arguments, task_vars=task_vars)
        command = "%s -I -c %s" % (shlex.quote(interpreter), shlex.quote(_START))
        program, began = self.program(arguments), time.monotonic()
        try:
            outcome = action._low_level_execute_command(command, in_data=program)
        except AnsibleConnectionFailure:
            if time.monotonic() - began > _KEPT_S:
                raise
            outcome = action._low_level_execute_command(command, in_data=program)  # it only looks
        return answer(outcome, interpreter)


def answer(outcome: dict, interpreter: str) -> dict:
    """The answer in what a command returned (``rc``, ``stdout``, ``stderr``), or why there is none."""
    for line in reversed(outcome["stdout"].splitlines()):
        if line.startswith(MARK):
            return json.loads(line[len(MARK):])
    said = [line.strip() for line in (outcome["stderr"] + "\n" + outcome["stdout"]).splitlines() if line.strip()]
    return {"failed": True, "msg": "Expected an answer of %s, found exit code %s%s." % (
        interpreter, outcome["rc"], ": %s" % said[-1] if said else " and nothing said")}
