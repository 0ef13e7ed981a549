# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The package repository that Hooper installs from, on one host: its file, its pin, and the release that runs.

Source: operation manual, "Running Hooper Updates": the file, its keys, and repositories ``release-YYYYMMDD`` for the
releases from 2019-07-29 on; a release earlier than the running one is not supported.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import datetime
import re

from ansible_collections.circonus.inside.plugins.module_utils import host_check_parse, programs, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused
from ansible_collections.circonus.inside.plugins.module_utils.release import release_date

PATH = "/etc/yum.repos.d/Circonus.repo"
SECTION = "circonus"
MIRROR = "http://updates.circonus.net"
WEB_PACKAGE = "circonus-web-service"
FIRST_PIN = "2019-07-29"
NO_PIN = "none"
_PIN = re.compile(r"^(?:release-)?(\d{4})-?(\d{2})-?(\d{2})$")
_BASE = re.compile(r"^(.+)/centos/7/(?:release-(\d{8})/)?x86_64/?$")
_HEADER = re.compile(r"^\[([^\]]+)\]")
_PAIR = re.compile(r"^([^\s=:#;\[][^=:]*?)\s*[=:]\s*(.*?)\s*$")


def pin_date(text):
    """A pin as ``YYYY-MM-DD``, from that form, ``YYYYMMDD`` or ``release-YYYYMMDD``. Pure.

    None for nothing, ``""`` for the word none. Raises BadInput for what is not the date of a release with a repository
    of its own; later than the newest release that is known here, any date may be one.
    """
    text = "" if text is None else str(text).strip()
    if text in ("", NO_PIN):
        return "" if text else None
    found = _PIN.match(text)
    day = "-".join(found.groups()) if found else ""
    try:
        datetime.datetime.strptime(day, "%Y-%m-%d")
    except ValueError:
        raise BadInput(
            "Expected circonus_repo_pin to be the date of a release such as 2019-11-04, found {0}. Nothing was "
            "changed.".format(text)
        )
    if day < FIRST_PIN:
        raise BadInput(
            "Expected circonus_repo_pin to be {0} or later, found {1}: earlier releases have no repository of their "
            "own. Nothing was changed.".format(FIRST_PIN, day)
        )
    known = host_check_parse.RELEASES
    if day < known[-1] and day not in known:
        raise BadInput(
            "No release has the date {0} of circonus_repo_pin, the nearest are {1} and {2}. Nothing was "
            "changed.".format(day, max(item for item in known if item < day), min(item for item in known if item > day))
        )
    return day


def refuse_downgrade(pin, running, source):
    """Raise Refused when ``pin`` is earlier than the release ``running``; both ``YYYY-MM-DD`` or nothing. Pure.

    source: where the release is known from, as the end of a sentence.
    """
    if pin and running and pin < running:
        raise Refused(
            "circonus_repo_pin {0} is earlier than the release {1} {2}, and a downgrade is not supported. Pin that "
            "release or a later one; nothing was changed.".format(pin, running, source)
        )


def entries(lines):
    """``[{"section", "key", "value", "first", "end"}, ...]`` of the lines of an INI file, with their positions. Pure.

    An indented line goes on with the value before it.
    """
    found, section = [], None
    for number, line in enumerate(lines):
        header, pair = _HEADER.match(line), _PAIR.match(line)
        if header:
            section = header.group(1).strip()
        elif line[:1] in (" ", "\t") and line.strip() and found and found[-1]["end"] == number:
            found[-1].update(value=found[-1]["value"] + "\n" + line.strip(), end=number + 1)
        elif pair and section:
            entry = {"section": section, "key": pair.group(1).lower(), "value": pair.group(2)}
            found.append(dict(entry, first=number, end=number + 1))
    return found


def with_values(text, values):
    """``text`` of a repository file in which the section has ``values``; everything else stays as it is. Pure."""
    lines = text.splitlines()
    own = [entry for entry in entries(lines) if entry["section"] == SECTION]
    missing = [key for key in values if key not in [entry["key"] for entry in own]]
    if not missing and all(values.get(entry["key"], entry["value"]) == entry["value"] for entry in own):
        return text
    headers = [number for number, line in enumerate(lines)
               if _HEADER.match(line) and _HEADER.match(line).group(1).strip() == SECTION]
    if not headers:
        lines += ([""] if lines and lines[-1].strip() else []) + ["[{0}]".format(SECTION)]
        headers = [len(lines) - 1]
    end = own[-1]["end"] if own else headers[-1] + 1
    lines[end:end] = ["{0}={1}".format(key, values[key]) for key in missing]
    for entry in reversed(own):
        if entry["key"] in values and entry["value"] != values[entry["key"]]:
            lines[entry["first"] : entry["end"]] = ["{0}={1}".format(entry["key"], values[entry["key"]])]
    return "".join(line + "\n" for line in lines)


def base_url(present, pin=None, mirror=None):
    """Address of the repository. Pure.

    present: the one that the file has, or None. pin: see :func:`pin_date`; None keeps the pin of ``present``. mirror:
    what comes before ``/centos/7/``; None keeps that of ``present``. Raises Refused where that cannot be told.
    """
    found = _BASE.match(present or "")
    if present and pin is None and mirror is None:
        return present
    if present and not found and mirror is None:
        raise Refused(
            "Expected a baseurl that ends in /centos/7/x86_64/ or /centos/7/release-YYYYMMDD/x86_64/ in {0}, found "
            "{1}. Say by circonus_repo_mirror what comes before; nothing was changed.".format(
                PATH, present.replace("\n", " and ")
            )
        )
    kept = found.group(2) if found else None
    day = kept if pin is None else pin.replace("-", "")
    where = mirror or (found.group(1) if found else MIRROR)
    wanted = "{0}/centos/7/{1}x86_64/".format(where.rstrip("/"), "release-{0}/".format(day) if day else "")
    return present if present and present.rstrip("/") == wanted.rstrip("/") else wanted


def pinned(url):
    """Date of the release that an address is pinned to, ``""`` when to none. Pure."""
    found = _BASE.match(url or "")
    day = found.group(2) if found else None
    return "-".join((day[:4], day[4:6], day[6:])) if day else ""


def decide(text, params, installed=None):
    """What the repository file should hold. Pure.

    text: of the file, None when there is none. params: ``pin``, ``mirror``, ``proxy``, ``gpgcheck`` and ``release``
    (what the operator says that runs) of the module. installed: release that this host says that runs, or None.

    Returns ``{"text", "baseurl", "pin": date or "", "release": date or None, "warnings": [sentence, ...]}``. Raises
    BadInput or Refused before anything would change.
    """
    pin = pin_date(params.get("pin"))
    found = entries((text or "").splitlines())
    own = dict((entry["key"], entry["value"]) for entry in found if entry["section"] == SECTION)
    sources = [
        (installed, "that runs here"),
        (release_date(params.get("release")), "that circonus_release says runs"),
        (pinned(own.get("baseurl")), "that the file is pinned to; where another one runs, say so by circonus_release"),
    ]
    release, source = next((pair for pair in sources if pair[0]), (None, ""))
    refuse_downgrade(pin, release, source)
    wanted = base_url(own.get("baseurl"), pin, params.get("mirror"))
    if pin:
        leak = _leak(found, own)
        if leak:
            raise Refused(
                "{0} in {1} offers other releases beside the pin. Remove it; nothing was changed.".format(leak, PATH)
            )
    values = {"baseurl": wanted}
    if not any(entry["section"] == SECTION for entry in found):
        values = {"name": SECTION, "enabled": "1", "baseurl": wanted, "gpgcheck": "0", "metadata_expire": "30m"}
    if params.get("gpgcheck") is not None and own.get("gpgcheck", "").lower() not in _words(params["gpgcheck"]):
        values["gpgcheck"] = _words(params["gpgcheck"])[0]
    if params.get("proxy"):
        if re.search(r"//[^/]*@", params["proxy"]):
            raise BadInput("Everybody may read {0}: a proxy with a password belongs into yum.conf.".format(PATH))
        values["proxy"] = params["proxy"]
    warnings = []
    if pin and not release:
        warnings.append(
            "Nothing on this host tells the running release; that the pin {0} is no downgrade is not proven. Set "
            "circonus_release to have it proven.".format(pin)
        )
    if own.get("enabled", "1").lower() in _words(False):
        warnings.append("The repository is switched off in {0} (enabled={1}).".format(PATH, own["enabled"]))
    return {
        "text": with_values(text or "", values),
        "baseurl": wanted,
        "pin": pinned(wanted),
        "release": release,
        "warnings": warnings,
    }


def _words(flag):
    """How yum writes a truth, the usual one first."""
    return ("1", "yes", "true", "on") if flag else ("0", "no", "false", "off")


def _leak(found, own):
    """What would let yum install other releases than the pinned one, or None."""
    for key in ("mirrorlist", "metalink"):
        if own.get(key):
            return key
    off = [entry["section"] for entry in found if entry["key"] == "enabled" and entry["value"].lower() in _words(False)]
    for entry in found:
        if entry["section"] not in [SECTION, *off] and entry["key"] == "baseurl" and _BASE.match(entry["value"]):
            return "[{0}]".format(entry["section"])
    return None


def installed_release(timeout=5.0, find=programs.find_program, run=unit_state.run):
    """Release of the platform that the package of the web frontend on this host belongs to; None when it is unknown."""
    rpm = find("rpm")
    if not rpm:
        return None
    out = run([rpm, "-q", "--qf", "%{NAME}\\t%{VERSION}\\n", WEB_PACKAGE], timeout)[1]
    return host_check_parse.release_of(host_check_parse.parse_versions(out).get(WEB_PACKAGE))


def package_manager(find=programs.find_program):
    """Path of yum, or of dnf where there is no yum. Raises Refused when the host has neither."""
    for name in ("yum", "dnf"):
        program = find(name)
        if program:
            return program
    raise Refused("Expected yum or dnf on this host, found neither. Nothing was changed.")


def clean_metadata(program, timeout=120.0, run=unit_state.run):
    """Forget what is cached of the repository, it may be 30 minutes old."""
    argv = [program, "--disablerepo=*", "--enablerepo=" + SECTION, "clean", "metadata"]
    rc, out, err = run(argv, timeout)
    if rc != 0:
        said = " ".join((err or out).split())[:300]
        raise CommandFailed("{0} ended with {1}: {2}. The file is as it was before.".format(
            " ".join(argv), rc, said.rstrip(".") or "no message"))
