# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Contents of the files that the manual leaves to the operator, from the variables of the roles."""

from __future__ import annotations

import posixpath
import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

# A directory with retention must not lie above or in one of these,
KEPT = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/opt/circonus/CA", "/opt/circonus/bin", "/opt/circonus/etc",
    "/opt/circonus/var", "/opt/napp", "/opt/noit", "/opt/pgsql", "/opt/rabbitmq", "/proc", "/root", "/run", "/sbin",
    "/snowth", "/sys", "/usr", "/var/lib", "/var/log", "/wdb", "/www",
)
# nor be one of these.
SHARED = ("/home", "/mnt", "/srv", "/tmp", "/var/tmp")


def lines(settings: dict, separator: str) -> list:
    """Lines of a file with one setting a line, in the order of ``settings``.

    Raises BadInput for a name or a value that cannot stand in such a file.
    """
    for name, value in (settings or {}).items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", str(name)) or value in (None, "") or "\n" in str(value):
            raise BadInput("Expected a name and a value of one line, found %r. Correct the setting." % str(name))
    return ["%s%s%s" % (name, separator, value) for name, value in (settings or {}).items()]


def licenses_conf(text: str, where: str = "data_storage_licenses") -> str:
    """Text of ``licenses.conf`` with the licences of ``text`` (XML) in it; '' for none. where: they are from.

    Source: on-premises documentation, later edition: "license XML goes between the licenses tags". Raises BadInput for
    text that is not XML.
    """
    text = re.sub(r"^<\?xml[^>]*\?>", "", (text or "").strip()).strip()
    if not text:
        return ""
    document = text if text.startswith("<licenses") else "<licenses>\n%s\n</licenses>" % text
    try:
        ElementTree.fromstring(document)
    except ElementTree.ParseError as exc:
        raise BadInput("Expected licences in XML, found text with %s. Correct %s." % (exc, where)) from exc
    return document + "\n"


def caql_broker_conf(config: dict) -> str:
    """Text of ``circonus-caql-broker.conf``; '' when nothing is set, so that the file is left alone.

    config: {"mq": {"host", "port", "user", "password", "exchange", "program"}, "nodes": [{"address", "port", "host"}],
    "api": {"address", "host", "port", "token", "app_name", "search_refresh_seconds", "batch_size",
    "global_concurrency", "timeout"}, "snowth": {"concurrency", "timeout"}, "window_timeout"}. The API stands in the
    form of the manual's option list (an element ``node``). Source: operation manual, "caql_broker configuration".
    Raises BadInput for what is missing.
    """
    if not config:
        return ""
    mq, api, snowth = (config.get(key) or {} for key in ("mq", "api", "snowth"))
    missing = ["mq." + key for key in ("host", "user", "password") if not mq.get(key)]
    missing += ["api." + key for key in ("address", "token") if not api.get(key)]
    missing += [] if config.get("nodes") else ["nodes"]
    if missing:
        raise BadInput("Expected %s in caql_broker_config, found nothing. Add it." % ", ".join(missing))
    text = ['<?xml version="1.0" encoding="utf8"?>', "<network><in>", '  <mq type="fq">']
    defaults = {"port": 8765, "exchange": "noit.firehose", "program": 'prefix:"check."'}
    for key in ("host", "port", "user", "password", "exchange", "program"):
        tag = "pass" if key == "password" else key
        text.append("    <%s>%s</%s>" % (tag, escape(str(mq.get(key) or defaults.get(key))), tag))
    text += ["  </mq>", "</in></network>", "<caqlbroker%s>" % _attributes(config, ("window_timeout",))]
    text.append("  <snowth%s>" % _attributes(snowth, ("concurrency", "timeout")))
    text += ["    <node%s/>" % _attributes(dict({"port": 8112}, **node), ("address", "host", "port"))
             for node in config["nodes"]]
    settings = ("batch_size", "global_concurrency", "search_refresh_seconds", "timeout")
    text += ["  </snowth>", "  <api%s>" % _attributes(api, settings), "    <token>%s</token>" % escape(api["token"])]
    text.append("    <app_name>%s</app_name>" % escape(api.get("app_name") or "caql-broker"))
    text.append("    <node%s/>" % _attributes(dict({"port": 8080}, **api), ("address", "host", "port")))
    return "\n".join([*text, "  </api>", "</caqlbroker>"]) + "\n"


def _attributes(values, keys):
    return "".join(" %s=%s" % (key, quoteattr(str(values[key]))) for key in keys if values.get(key) not in (None, ""))


def retention_rule(directory: str, days) -> str:
    """Rule for systemd-tmpfiles that removes files below ``directory`` once they are ``days`` days old; '' for 0.

    Raises BadInput for a directory that is not absolute or holds more than data of this role.
    """
    days = int(days)
    if days < 1:
        return ""
    path = posixpath.normpath(directory or "")
    refused = path in SHARED or any((path + "/").startswith(kept + "/") or kept.startswith(path + "/") for kept in KEPT)
    if refused or not re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", path) or ".." in directory.split("/"):
        raise BadInput(
            "Expected an absolute directory that holds nothing but data of long tail storage, found %r. "
            "Set long_tail_storage_directory." % directory
        )
    return "# Files older than the days that long_tail_storage_retention_days says.\nd %s - - - %dd\n" % (path, days)
