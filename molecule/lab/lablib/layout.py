"""From an inventory to containers: which hosts, which addresses, which networks."""

import ipaddress
import json
import os
import re
import shutil
import subprocess

from . import LabError, podman, stores
from .paths import DEFAULT_PROJECT, ROOT, write

HOME_NET = "10.89.100"  # what inventories/lab is written for: +1 east, +2 west, +3 service
HOME_ADDRESS = re.compile(r"\b10\.89\.10([123])\.(?=[0-9])")
ROUTER, CLIENT, DNS, ALIAS = 254, 250, 253, 200
ZONE = "circonus.lab"


class Host:
    """One platform host or broker of the inventory."""

    def __init__(self, name, site, address, service, roles, order, config=None):
        self.name, self.site, self.address, self.service = name, site, address, service
        self.roles, self.order, self.config = roles, order, config

    @property
    def is_platform(self):
        return self.config is not None


def find_ansible(program):
    """Return the path of an Ansible program: LAB_ANSIBLE_BIN, then PATH, then this checkout's environments."""
    for directory in (os.environ.get("LAB_ANSIBLE_BIN"), None, os.path.join(ROOT, ".venv", "bin")):
        path = shutil.which(program, path=directory) if directory else shutil.which(program)
        if path and "/.pyenv/shims/" not in path:
            return path
    raise LabError("%s not found; run `make venv`, or put an ansible-core environment on PATH" % program)


def ansible_environment(project=None):
    """Return the environment in which Ansible finds this checkout as the collection circonus.inside."""
    collections = os.path.join(ROOT, ".cache", "collections")
    link = os.path.join(collections, "ansible_collections", "circonus", "inside")
    if not os.path.islink(link):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        try:
            os.symlink(os.path.relpath(ROOT, os.path.dirname(link)), link)
        except FileExistsError:
            pass
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=collections)
    environment.setdefault("ANSIBLE_CONFIG", os.path.join(ROOT, "ansible.cfg"))
    environment.setdefault("ANSIBLE_HOME", os.path.join(ROOT, ".cache", "ansible"))
    if project:
        environment["LAB_PROJECT"] = project.name
        environment["ANSIBLE_INVENTORY"] = inventory_file(project.inventory)
    return environment


def inventory_file(directory):
    """Return the *.site.yml of an inventory directory."""
    found = (
        sorted(name for name in os.listdir(directory) if name.endswith(".site.yml")) if os.path.isdir(directory) else []
    )
    if len(found) != 1:
        raise LabError("%s: expected one *.site.yml, found %s" % (directory, ", ".join(found) or "none"))
    return os.path.join(directory, found[0])


def read_inventory(directory):
    """Return [Host] as the inventory plugin sees them (ansible-inventory), sorted in run order."""
    path = inventory_file(directory)
    done = subprocess.run(
        [find_ansible("ansible-inventory"), "-i", path, "--list"],
        capture_output=True,
        text=True,
        check=False,
        env=ansible_environment(),
        cwd=ROOT,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing said"]
        raise LabError("inventory %s: %s" % (path, said[-1].replace("[ERROR]: ", "")))
    data = json.loads(done.stdout, object_hook=plain)
    sites = data.get("all", {}).get("vars", {}).get("circonus_sites")
    hosts = []
    for name, variables in data.get("_meta", {}).get("hostvars", {}).items():
        sites = sites or variables.get("circonus_sites")
        node = variables.get("circonus_node") or {}
        site = node.get("site") or variables.get("circonus_site_name")
        config = None
        if "circonus_node" in variables and node.get("roles") and "broker" not in node["roles"]:
            config = os.path.basename((sites or {}).get(site, {}).get("file", "site.%s.json" % site))
        hosts.append(
            Host(
                name,
                site,
                variables.get("ansible_host"),
                None,
                sorted(node.get("roles", [])) or ["broker"],
                int(variables.get("circonus_run_order") or 9),
                config,
            )
        )
    if not hosts:
        raise LabError(
            "inventory %s has no hosts; ansible-inventory said: %s" % (path, done.stderr.strip()[-300:] or "nothing")
        )
    return sorted(hosts, key=lambda host: (host.order, host.name))


def plain(value):
    """Undo ansible-inventory's marking of strings that are no templates."""
    return value["__ansible_unsafe"] if list(value) == ["__ansible_unsafe"] else value


def site_names(hosts):
    return sorted({host.site for host in hosts})


class Plan:
    """Networks, addresses and routes of a lab; everything follows from LAB_NET and the inventory."""

    def __init__(self, net, hosts):
        self.net = net
        self.first, self.third = net.rsplit(".", 1)[0], int(net.rsplit(".", 1)[1])
        self.hosts = hosts
        self.sites = site_names(hosts)
        if len(self.sites) > 2:
            raise LabError(
                "the lab has room for two sites, the inventory has %d: %s" % (len(self.sites), ", ".join(self.sites))
            )
        for host in hosts:
            leg = self.prefix(host.site) + "."
            if not (host.address or "").startswith(leg):
                raise LabError(
                    "host %s has address %s; in the lab, hosts of site %s live in %s0/24 "
                    "(inventories are written for LAB_NET %s)" % (host.name, host.address, host.site, leg, HOME_NET)
                )
            last = int(host.address.rsplit(".", 1)[1])
            if not 11 <= last <= 89:
                raise LabError("host %s: the last number of its address must be 11 to 89, found %d" % (host.name, last))
            host.service = self.service(last + 100 * self.sites.index(host.site))

    def prefix(self, site):
        return "%s.%d" % (self.first, self.third + 1 + self.sites.index(site))

    def service(self, last):
        return "%s.%d.%d" % (self.first, self.third + 3, last)

    def subnets(self):
        """Return {network name: subnet}."""
        nets = {site: self.prefix(site) + ".0/24" for site in self.sites}
        nets["service"] = self.service(0) + "/24"
        return nets

    @property
    def client_address(self):
        return self.service(ALIAS) + "/24"

    def router_legs(self):
        legs = [("service", self.service(ROUTER), "svc0")]
        return legs + [(site, "%s.%d" % (self.prefix(site), ROUTER), leg_name(site)) for site in self.sites]

    def legs(self, host):
        """Return [(network, address, interface)] of a platform host."""
        return [(host.site, host.address, "site0"), ("service", host.service, "svc0")]

    def host_routes(self, host):
        """Return an `ip -batch` file: the other site through the router, and answers leave by the leg they came in.

        A host that reboots itself keeps its network from podman: what a boot would end goes first.
        """
        router = "%s.%d" % (self.prefix(host.site), ROUTER)
        lines = ["address flush dev svc0 secondary", "rule flush table 100"]
        lines += [
            "route replace %s via %s dev site0" % (self.subnets()[site], router)
            for site in self.sites
            if site != host.site
        ]
        lines += [
            "route replace %s dev site0 src %s table 100" % (self.subnets()[host.site], host.address),
            "route replace default via %s dev site0 table 100" % router,
            "rule add pref 100 from %s table 100" % host.address,
        ]
        return "".join(line + "\n" for line in lines)

    def client_routes(self):
        return "".join(
            "route replace %s via %s dev svc0\n" % (self.subnets()[site], self.service(ROUTER)) for site in self.sites
        )


def leg_name(site):
    """Return the router's interface towards a site (15 characters at most)."""
    return "s-%s" % site[:13]


def choose_net(project):
    """Return LAB_NET: from the environment, 10.89.100 for the default lab, else a free one."""
    given = os.environ.get("LAB_NET")
    if given:
        try:
            ipaddress.ip_address(given + ".0")
            if int(given.rsplit(".", 1)[1]) + 3 > 255:
                raise ValueError("no room above it")
        except ValueError:
            raise LabError(
                "LAB_NET %r: expected three numbers, the last at most 252, such as %s" % (given, HOME_NET)
            ) from None
        return given
    if project.name == DEFAULT_PROJECT:
        return HOME_NET
    used = used_subnets()
    for third in range(104, 252, 4):
        mine = [ipaddress.ip_network("10.89.%d.0/24" % (third + number)) for number in (1, 2, 3)]
        if not any(one.overlaps(other) for one in mine for other in used):
            return "10.89.%d" % third
    raise LabError("no free networks between 10.89.104 and 10.89.255; set LAB_NET to a free prefix")


def hardware_address(address):
    """Return the MAC address of a leg with this IPv4 address: locally administered, the same at every start."""
    return "02:42:" + ":".join("%02x" % int(part) for part in address.split("."))


def used_subnets():
    names = podman.run("network", "ls", "-q").stdout.split()
    used = []
    if names:
        for network in json.loads(podman.run("network", "inspect", *names).stdout):
            for subnet in network.get("subnets") or []:
                net = ipaddress.ip_network(subnet["subnet"])
                if net.version == 4:
                    used.append(net)
    return used


def copy_inventory(source, project, net, edition="later", store=None):
    """Make the working copy of an inventory, its addresses moved to the lab's own networks.

    An inventory may hold `edition-<edition>.json`: {file name: what that edition's lab has besides}. store: (number,
    sided) of `lab up --stores`, for one site of it.
    """
    if not os.path.isdir(source):
        raise LabError("inventory directory %s does not exist" % source)
    inventory_file(source)
    first, third = net.rsplit(".", 1)[0], int(net.rsplit(".", 1)[1])

    def moved(match):
        return "%s.%d." % (first, third + int(match.group(1)))

    additions = read_additions(os.path.join(source, "edition-%s.json" % edition))
    shutil.rmtree(project.inventory, ignore_errors=True)
    for directory, names, files in os.walk(source):
        names[:] = [name for name in names if not name.startswith(".") and name != "__pycache__"]
        for name in files:
            if directory == source and name.startswith("edition-"):
                continue
            path = os.path.join(directory, name)
            with open(path, encoding="utf-8") as stream:
                text = HOME_ADDRESS.sub(moved, stream.read())
            if directory == source and name in additions:
                text = json.dumps(merged(json.loads(text), additions[name]), indent=2) + "\n"
            write(
                os.path.join(project.inventory, os.path.relpath(path, source)),
                text,
                mode=0o600 if name.endswith(".json") else 0o644,
            )
    if store:
        stores.reshape(project.inventory, *store)


def read_additions(path):
    """Return {file name: object to merge into it}; nothing when the inventory has none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LabError("%s: %s" % (path, error)) from None


def merged(base, addition):
    """Return base with the keys of addition; objects are merged, everything else is replaced."""
    if not (isinstance(base, dict) and isinstance(addition, dict)):
        return addition
    result = dict(base)
    for key, value in addition.items():
        result[key] = merged(base[key], value) if key in base else value
    return result


def write_lab_variables(project, plan, clients, edition):
    """Write what only this lab knows, as variables of the working copy."""
    control = project.path("cp")
    if len(control) > 70:
        control = "/tmp/circonus-lab-%d-%s" % (os.geteuid(), project.name)
    os.makedirs(control, mode=0o700, exist_ok=True)
    lines = [
        "---",
        "# Written by `lab up`.",
        "lab_project: %s" % project.name,
        "lab_directory: %s" % json.dumps(project.directory),
        "ansible_control_path_dir: %s" % json.dumps(control),
        "lab_edition: %s" % json.dumps(edition),
        "lab_client_container: %s" % project.container("client"),
        # How the procedures move the clients of this lab.
        "circonus_clients: %s" % clients,
        "circonus_client_address: %s" % plan.client_address,
    ]
    if edition == "2019":
        # Releases before 2020-11 ignore active_datacenter, which the lab's site.json has; nothing else would tell.
        lines.append('circonus_edition: "2019"')
    if clients == "nsupdate":
        with open(project.path("ddns.key"), encoding="utf-8") as stream:
            secret = re.search(r'secret\s+"([^"]+)"', stream.read()).group(1)
        entries = {host.name: host.service for host in plan.hosts if "web_db" in host.roles}
        lines += [
            "circonus_dns_server: %s" % plan.service(DNS),
            "circonus_dns_zone: %s" % ZONE,
            "circonus_dns_record: db",
            # The controller has no way into the lab's networks but ssh through the client container.
            "circonus_dns_from: primary",
            "circonus_dns_ttl: 1",
            "circonus_dns_addresses: %s" % json.dumps(entries),
            "circonus_dns_key_name: lab",
            "circonus_dns_key_secret: %s" % json.dumps(secret),
        ]
    write(os.path.join(project.inventory, "group_vars", "all", "lab.yml"), "\n".join(lines) + "\n")
