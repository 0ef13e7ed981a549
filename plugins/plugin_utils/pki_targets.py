# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which TLS ports of a host are looked at, and which connections it must be able to make. Pure.

Ports, their clients and the connections out of a role are facts of the catalogue (operation manual, "Roles"; the later
connection matrix). Names that users type come from site.json.
"""

from __future__ import annotations

#: Roles that serve every site; everything else is used inside its own.
EVERYWHERE = ("broker",)


def tls_ports(entry, release=None) -> list:
    """Ports of a role that speak TLS, each with ``optional`` (may rightly not listen) and ``verifies`` (the manual has
    its callers show a certificate)."""
    gated = {unit["id"] for unit in entry.get("units") or []
             if release is None and (unit.get("from") or unit.get("until"))}
    shown = {call["port"] for call in entry.get("calls") or [] if call.get("certificate")}
    found = []
    for port in entry.get("ports") or []:
        if not port.get("tls") or port["proto"] != "tcp" or not isinstance(port["port"], int):
            continue
        optional = bool(port.get("optional") or port["unit"] is None or port["unit"] in gated)
        found.append({"port": port["port"], "optional": optional, "verifies": port["port"] in shown,
                      "users": "users" in port["clients"]})
    return found


def pair(role, items) -> dict:
    """``{"ca", "cert", "key", "crl"}``: paths of a role's own files among the items that are collected on a host."""
    found = {}
    for item in items:
        if item.get("role") == role and item["kind"] in ("ca", "cert", "key", "crl"):
            found.setdefault(item["kind"], item["path"])
    return found


def user_certificate(role, items) -> str | None:
    """Path of the certificate that a role shows to users."""
    for item in items:
        if item.get("role") == role and item["kind"] == "user_facing" and item["path"].endswith((".crt", ".pem")):
            return item["path"]
    return None


def user_names(role, raw) -> list:
    """Names under which users reach a role, by site.json; [] for a role without any.

    raw: site.json. Keys url_host, external_host, stream_service_name (on-premises documentation, site.json).
    """
    services, domain = raw.get("svclist") or {}, raw.get("domain") or ""
    section = services.get(role) or services.get(role.replace("_", "-")) or {}
    if role == "web_frontend":
        name = section.get("url_host")
        return ["%s.%s" % (name, domain)] if name else [domain]
    if role == "api":
        return [section.get("external_host") or "api." + domain]
    if role == "web_stream":
        name = section.get("stream_service_name") or "s." + domain
        return [name] if name.endswith(domain) else [name, "%s.%s" % (name, domain)]
    return []


def certificate_type(role, raw) -> str:
    """``internal``, ``commercial`` or ``none``."""
    services = raw.get("svclist") or {}
    section = services.get(role) or services.get(role.replace("_", "-")) or {}
    return section.get("certificate_type") or "internal"


def ports(host, entries, items, stopped=(), release=None, raw=None, address=None) -> list:
    """Items for the option ``ports`` of pki_files: the TLS ports of the roles that run on a host.

    entries: effective catalogue entries. items: what is collected there (:func:`pki_audit.wanted`). stopped: roles kept
    stopped. raw: site.json of the host's site, {} for a broker without one. address: of the host. Each has ``role``,
    ``port``, ``file`` (the certificate on disk, None when nobody knows it), ``users`` (towards users), ``names``,
    ``optional``, ``verifies``.
    """
    found = []
    for entry in entries:
        role = entry["name"]
        if entry.get("absent") or role in stopped:
            continue
        for port in tls_ports(entry, release):
            mine = pair(role, items)
            item = dict(port, role=role, address="127.0.0.1", else_address=address, sni=host, names=[],
                        file=mine.get("cert"))
            if port["users"]:
                names = user_names(role, raw) if raw else []
                item.update(file=user_certificate(role, items) or item["file"], names=names, sni=(names or [host])[0])
                item["optional"] = item["optional"] or bool(raw) and certificate_type(role, raw) == "none"
            else:
                item.update({name: mine[name] for name in ("ca", "cert", "key") if name in mine})
            found.append(item)
    return found


def links(entries, known, release=None) -> list:
    """[(role to connect from, role to connect to, port item)] of the TLS connections that the roles of a host need.

    entries: effective catalogue entries of the host. known: {role: effective entry} of every role. Only a role with
    files of its own can connect.
    """
    found = []
    for entry in entries:
        if entry.get("absent"):
            continue
        for link in (entry.get("connections") or {}).get("out") or []:
            server = known.get(link["to"])
            if server is None or server.get("absent") or link["proto"] != "tcp":
                continue
            found += [(entry["name"], link["to"], port) for port in tls_ports(server, release)
                      if port["port"] == link["port"]]
    return found


def peers(site, needed, items, where, stopped=(), skip=()) -> list:
    """Items for the option ``peers`` of pki_files: the connections that the roles of a host must be able to make.

    site: of the host, None for a broker without one. needed: :func:`links` of its roles. items: what is collected on
    it. where: ``{role: [{"host", "site", "address"}]}`` of the servers that run. stopped: roles kept stopped here.
    skip: servers that nobody is meant to reach.
    Each has ``role``, ``to``, ``to_role``, ``to_site``, ``port``, ``optional`` and the paths.
    """
    found = []
    for role, to_role, port in needed:
        mine = pair(role, items)
        if role in stopped or not {"ca", "cert", "key"} <= set(mine):
            continue
        for server in where.get(to_role) or []:
            if server["host"] in skip:
                continue
            if server["site"] != site and to_role not in EVERYWHERE and role not in EVERYWHERE:
                continue
            found.append(dict(
                {name: mine[name] for name in ("ca", "cert", "key", "crl") if name in mine},
                role=role, to=server["host"], to_role=to_role, to_site=server["site"], port=port["port"],
                address=server["address"], sni=server["host"], optional=port["optional"],
            ))
    return found
