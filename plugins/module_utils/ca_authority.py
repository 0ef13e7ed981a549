# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an OpenSSL authority has issued, whether it can sign, and its counters.

Where the counters, the index and the key lie is read from the authority's own openssl configuration; the manual names
only the directory and ``public-info/ca.crt``. A trial signature is made in a private copy with a random serial number,
so that no number of the authority is ever used twice.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import binascii
import calendar
import glob
import hashlib
import os
import re
import shutil
import ssl
import tempfile
import time

from ansible_collections.circonus.inside.plugins.module_utils import ca, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

CONFIG = "openssl.cnf"
CRL = "public-info/ca.crl"
POLICY = "circonus_inside_trial"
_SETTING = re.compile(r"^\s*([A-Za-z0-9_.]+)\s*=\s*([^#]*?)\s*(?:#.*)?$")
_SECTION = re.compile(r"^\s*\[\s*([^\]]+?)\s*\]")
_NEEDED = ("database", "serial", "certificate", "private_key")


def parse_config(text, home):
    """Paths of the authority in an openssl configuration. Pure.

    Returns ``{"database", "serial", "certificate", "private_key", "crlnumber" (or ""), "new_certs_dir" (or "")}``.
    Raises BadInput.
    """
    sections, name = {"default": {}}, "default"
    for line in text.splitlines():
        section, setting = _SECTION.match(line), _SETTING.match(line)
        if section:
            name = section.group(1)
            sections.setdefault(name, {})
        elif setting:
            sections[name][setting.group(1)] = setting.group(2)
    chosen = sections.get("ca", {}).get("default_ca") or sections["default"].get("default_ca")
    values = dict(sections["default"], **sections.get(chosen, {}))

    def resolve(value, depth=0):
        if depth > 5 or "$ENV" in value:
            raise BadInput("Expected plain paths in the openssl configuration of {0}, found {1}.".format(home, value))
        new = re.sub(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))", lambda m: values.get(m.group(m.lastindex), ""), value)
        return new if new == value else resolve(new, depth + 1)

    paths = {}
    for key in _NEEDED + ("crlnumber", "new_certs_dir"):
        value = resolve(values.get(key, ""))
        paths[key] = os.path.normpath(os.path.join(home, value)) if value else ""
    missing = [key for key in _NEEDED if not paths[key]]
    if missing:
        raise BadInput(
            "Expected {0} in the section of default_ca of the openssl configuration in {1}, found none. Name the right "
            "file by config.".format(", ".join(missing), home)
        )
    return paths


def config_of(home, config=CONFIG):
    """``(text, paths)`` of the configuration in ``home``. Raises BadInput where there is none."""
    path = os.path.join(home, config)
    try:
        with open(path) as handle:
            text = handle.read()
    except (IOError, OSError) as exc:
        raise BadInput(
            "Expected the configuration of the authority in {0}, found: {1}. Run Hooper on this host.".format(
                path, exc.strerror
            )
        )
    return text, parse_config(text, home)


def _expiry(text):
    """Epoch seconds of a date of the index (``YYMMDDhhmmssZ`` or ``YYYYMMDDhhmmssZ``)."""
    form = "%y%m%d%H%M%SZ" if len(text) == 13 else "%Y%m%d%H%M%SZ"
    return calendar.timegm(time.strptime(text, form))


def parse_index(text, now):
    """``({serial: "V" or "R"} of what has not expired, highest serial as a number)`` of an index. Pure.

    Newer processors move expired entries aside, so those are no difference between two copies.
    """
    issued, highest = {}, 0
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) < 6:
            continue
        try:
            number, expiry = int(parts[3], 16), _expiry(parts[1])
        except ValueError:
            raise BadInput("Expected an index of openssl, found the line {0!r}. Restore it.".format(line[:60]))
        highest = max(highest, number)
        if expiry > now:
            issued["%X" % number] = "R" if parts[0] == "R" else "V"
    return issued, highest


def read_number(path):
    """The hexadecimal number in a file, 0 where there is none."""
    try:
        with open(path) as handle:
            return int(handle.read().strip() or "0", 16)
    except ValueError:
        raise BadInput("Expected a hexadecimal number in {0}, found something else. Restore it.".format(path))
    except (IOError, OSError):
        return 0


def write_number(path, number):
    """Replace the number in a file, durably; owner and mode are kept."""
    text = "%X" % number
    replace(path, ("0" * (len(text) % 2) + text + "\n").encode("ascii"))


def replace(path, data):
    """Put ``data`` (bytes) into a file, durably; owner and mode are kept, of a new file 0644 and that of its directory.
    """
    like = path if os.path.exists(path) else os.path.dirname(path)
    info = os.stat(like)
    temporary = "{0}.new-{1}".format(path, os.getpid())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fchown(handle.fileno(), info.st_uid, info.st_gid)
        os.fchmod(handle.fileno(), info.st_mode & 0o7777 if like == path else 0o644)
        os.fsync(handle.fileno())
    os.rename(temporary, path)


def read_certificate(path):
    """``(text, SHA-256)`` of the first certificate of a PEM file, twice "" where there is none."""
    try:
        with open(path) as handle:
            text = handle.read()
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
        return text[begin:end] + "\n", hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()
    except (IOError, OSError, ValueError):
        return "", ""


def key_pass(site_path=site_file.PATH):
    """Pass phrase of the CA key from the installed site.json."""
    value = site_file.role_of(site_file.load(site_path), "ca").get("key_pass")
    if not value:
        raise Refused("Expected ca.key_pass in {0}, found none. Run site_distribute.yml.".format(site_path))
    return value


def crl_facts(path, cwd="/"):
    """``{"number", "next_update"}`` of a CRL (int, epoch seconds), ``{}`` where there is none."""
    if not os.path.exists(path):
        return {}
    out = ca.openssl(["crl", "-in", path, "-noout", "-nextupdate", "-crlnumber"], cwd=cwd).decode("utf-8", "replace")
    found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    number = found.get("crlNumber", "0").strip()
    return {
        "number": int(number, 16) if re.match(r"^(0x)?[0-9A-Fa-f]+$", number) else 0,
        "next_update": calendar.timegm(time.strptime(found["nextUpdate"].strip(), "%b %d %H:%M:%S %Y GMT")),
    }


def state(home=ca.PATH, config=CONFIG, crl=CRL, now=None):
    """What may be told of the authority in ``home``; no key and no digest of one.

    ``{"present", "initialised", "certificate", "fingerprint", "serial" (next), "crl_number" (next), "issued": {serial:
    V|R}, "highest", "crl", "newest_mtime", "manifest_sha256", "problem"}``; numbers are ints, serials hexadecimal text.
    """
    result = {"issued": {}, "serial": 0, "crl_number": 0, "highest": 0, "crl": {}, "problem": ""}
    result.update(fingerprint="", certificate="")
    facts = ca.summary(home)
    result.update((key, facts[key]) for key in ("present", "initialised", "newest_mtime"))
    result["manifest_sha256"] = ca.digest(ca.manifest(home)) if facts["present"] else ""
    result["asides"] = sorted(glob.glob(home.rstrip("/") + ".aside-*"))
    if not facts["initialised"]:
        return result
    try:
        unused, paths = config_of(home, config)
        with open(paths["database"]) as handle:
            result["issued"], result["highest"] = parse_index(handle.read(), time.time() if now is None else now)
        result["certificate"], result["fingerprint"] = read_certificate(paths["certificate"])
        result.update(
            serial=read_number(paths["serial"]),
            crl_number=read_number(paths["crlnumber"]) if paths["crlnumber"] else 0,
            crl=crl_facts(os.path.join(home, crl)),
        )
    except (BadInput, CommandFailed) as exc:
        result["problem"] = str(exc)
    except (IOError, OSError) as exc:
        result["problem"] = "Cannot read {0}: {1}.".format(exc.filename, exc.strerror)
    return result


def ahead(one, other):
    """What the authority state ``one`` has that ``other`` does not: sorted serials, then words on its counters. Pure.

    Empty when ``other`` may take over from ``one`` without losing anything.
    """
    rank = {"V": 1, "R": 2}
    found = sorted(
        (serial for serial, kind in one["issued"].items() if rank[kind] > rank.get(other["issued"].get(serial), 0)),
        key=lambda serial: int(serial, 16),
    )
    if not found and one["serial"] > other["serial"]:
        found.append("next serial %X" % one["serial"])
    if not found and one["crl_number"] > other["crl_number"]:
        found.append("CRL number %X" % one["crl_number"])
    return found


def trial(home, origin, phrase, config=CONFIG):
    """Sign a throw-away request with the authority in ``home``, a private copy of ``origin``, and verify the result.

    Every path of the configuration must lie in the copy. Returns the serial that was used. Raises Refused and
    CommandFailed.
    """
    text, unused = config_of(home, config)
    text = text.replace(origin.rstrip("/"), home.rstrip("/"))
    paths = parse_config(text, home)
    outside = sorted(path for path in paths.values() if path and not path.startswith(home.rstrip("/") + "/"))
    if outside:
        raise Refused(
            "Expected every path of {0} below {1}, found {2}. A trial could touch the authority itself, so it was not "
            "made.".format(config, origin, outside[0])
        )
    serial = binascii.hexlify(os.urandom(15)).decode("ascii").upper()
    write_number(paths["serial"], int("7F" + serial, 16))
    own = os.path.join(home, ".trial.cnf")
    with open(own, "w") as handle:
        handle.write(text + "\n[{0}]\ncommonName = supplied\n".format(POLICY))
    key, request, signed = (os.path.join(home, ".trial." + end) for end in ("key", "csr", "crt"))
    plain = os.path.join(home, ".trial.req.cnf")
    with open(plain, "w") as handle:
        handle.write("[req]\ndistinguished_name = name\n[name]\n")
    ca.openssl(["req", "-new", "-config", plain, "-newkey", "rsa:2048", "-nodes", "-sha256", "-keyout", key]
               + ["-out", request, "-subj", "/CN=circonus-inside-trial-" + serial.lower()], cwd=home)
    ca.openssl(["ca", "-config", own, "-batch", "-notext", "-policy", POLICY, "-days", "1", "-in", request]
               + ["-out", signed, "-passin", "env:CA_KEY_PASS"], cwd=home, key_pass=phrase)
    answer = ca.openssl(["verify", "-CAfile", paths["certificate"], signed], cwd=home).decode("utf-8").strip()
    if not answer.endswith(": OK"):
        raise Refused("Expected a certificate that {0} verifies, found: {1}.".format(paths["certificate"], answer))
    out = ca.openssl(["x509", "-noout", "-serial", "-in", signed], cwd=home).decode("ascii")
    used = out.strip().rpartition("=")[2]
    if used != "7F" + serial:
        raise Refused("Expected a trial with a random serial number, found {0}. Nothing was changed.".format(used))
    return used


def trial_in_copy(home, state_dir, phrase, config=CONFIG):
    """:func:`trial` in a private copy of ``home`` that is removed afterwards."""
    with Scratch(state_dir) as scratch:
        copy = os.path.join(scratch, "CA")
        shutil.copytree(home, copy, symlinks=True)
        return trial(copy, home, phrase, config)


class Scratch(object):
    """A private directory below ``state_dir`` that is gone afterwards; leftovers of a killed run are removed first."""

    def __init__(self, state_dir):
        self.state_dir, self.path = state_dir, None

    def __enter__(self):
        if not os.path.isdir(self.state_dir):
            os.makedirs(self.state_dir, 0o755)
        for old in glob.glob(os.path.join(self.state_dir, "ca-scratch-*")):
            try:
                os.kill(int(old.rsplit("-", 1)[1].split(".")[0]), 0)
            except (OSError, ValueError):
                shutil.rmtree(old, ignore_errors=True)
        self.path = tempfile.mkdtemp(prefix="ca-scratch-{0}.".format(os.getpid()), dir=self.state_dir)
        return self.path

    def __exit__(self, *unused):
        shutil.rmtree(self.path, ignore_errors=True)


def advance(home, serial_floor, crl_floor, phrase, config=CONFIG, crl=CRL, check_mode=False):
    """Raise the next serial and the next CRL number to at least the floors, and make a CRL after that.

    Returns ``{"changed", "serial", "crl_number", "crl"}``; nothing changes where both are there already and the CRL
    is not older than the counter asks.
    """
    unused, paths = config_of(home, config)
    serial = read_number(paths["serial"])
    number = read_number(paths["crlnumber"]) if paths["crlnumber"] else 0
    target = os.path.join(home, crl)
    changed = False
    if serial < serial_floor:
        changed, serial = True, serial_floor
        if not check_mode:
            write_number(paths["serial"], serial)
    made = crl_facts(target).get("number", 0)
    if paths["crlnumber"] and (number < crl_floor or made < crl_floor):
        changed, number = True, max(number, crl_floor)
        if not check_mode:
            write_number(paths["crlnumber"], number)
            fresh = "{0}.new-{1}".format(target, os.getpid())
            try:
                ca.openssl(["ca", "-config", config, "-gencrl", "-passin", "env:CA_KEY_PASS", "-out", fresh], cwd=home,
                           key_pass=phrase)
                with open(fresh, "rb") as handle:
                    replace(target, handle.read())
            finally:
                if os.path.exists(fresh):
                    os.unlink(fresh)
            number = read_number(paths["crlnumber"])
    return {"changed": changed, "serial": serial, "crl_number": number, "crl": crl_facts(target)}
