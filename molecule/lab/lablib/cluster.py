"""Bring a lab up, take it down, and say what runs where."""

import base64
import json
import os
import shutil
import subprocess
import time

from . import LabError, image, layout, podman, stores
from .layout import CLIENT, DNS, Plan
from .paths import CACHE, ROOT, locked, write

DATA_BAG = "/opt/circonus/var/chef-solo/data_bags/service_map"
HOOPER = "/opt/circonus/bin/run-hooper"
HOOPER_PASSES = 4
FUSE = "/dev/fuse"
BOOT_DEADLINE = 120
INSTALL_BROKER = "/opt/circonus/libexec/lab/bin/install-broker"
HUB_SCRIPTS = ("/www/bin/noit/noit_activation.pl", "/www/bin/noit/stratcon_sync.pl")
WAIT_FOR_BOOT = """
until state=$(systemctl is-system-running --wait 2>/dev/null) || [ "$state" = degraded ]; do sleep 0.1; done
systemctl list-units --failed --plain --no-legend | cut -d' ' -f1
"""


class Lab:
    """One lab: its project directory, its plan, its containers."""

    def __init__(self, project, say=print, quiet=False):
        self.project = project
        self.say = (lambda text: None) if quiet else say
        self.state = project.load()
        self.plan = None
        if self.state.get("hosts"):
            hosts = [layout.Host(**fields) for fields in self.state["hosts"]]
            self.plan = Plan(self.state["net"], hosts)

    # -- what there is -----------------------------------------------------------------------------------------------

    def require(self):
        """Refuse to work on a lab that is not there."""
        podman.prepare()
        if not self.plan:
            raise LabError("lab %s is not up; run `molecule/lab/lab up`" % self.project.name)
        return self

    @property
    def hosts(self):
        return self.plan.hosts

    @property
    def platform(self):
        return [host for host in self.hosts if host.is_platform]

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(
            "lab %s has no host %s; it has %s" % (self.project.name, name, ", ".join(h.name for h in self.hosts))
        )

    def select(self, names):
        """Return container members for host names, `@site` or one of router, client, dns."""
        members = dict.fromkeys(self.members())
        chosen = []
        for name in names:
            if name.startswith("@"):
                found = [host.name for host in self.hosts if host.site == name[1:]]
                if not found:
                    raise LabError(
                        "lab %s has no site %s; it has %s" % (self.project.name, name[1:], ", ".join(self.plan.sites))
                    )
                chosen += found
            elif name in members:
                chosen.append(name)
            else:
                raise LabError("lab %s has no host %s; it has %s" % (self.project.name, name, ", ".join(members)))
        return list(dict.fromkeys(chosen))

    def members(self):
        extra = ["dns"] if self.state.get("clients") == "nsupdate" else []
        return ["router", "client"] + extra + [host.name for host in self.hosts]

    def container(self, host):
        return self.project.container(host)

    def execute(self, host, *argv, **options):
        return podman.execute(self.container(host), *argv, **options)

    def site_files(self):
        """Return {site: site.json of the working copy}."""
        files = {}
        for host in self.platform:
            if host.site not in files:
                path = os.path.join(self.project.inventory, host.config)
                try:
                    with open(path, encoding="utf-8") as stream:
                        files[host.site] = json.load(stream)
                except (OSError, ValueError) as error:
                    raise LabError("site.json of %s: %s: %s" % (host.site, path, error)) from None
        return files

    def active_site(self):
        files = self.site_files()
        for site, data in files.items():
            if data.get("active_datacenter", len(files) == 1):
                return site
        raise LabError("no site.json in %s says active_datacenter: true" % self.project.inventory)

    # -- up ----------------------------------------------------------------------------------------------------------

    def up(
        self,
        inventory,
        pg="15",
        clients="ip_alias",
        edition="later",
        guard=True,
        converge=True,
        keep=False,
        zfs=False,
        count=0,
        sided=False,
    ):
        from . import snapshot

        started = time.monotonic()
        podman.prepare()
        wanted = {"inventory_source": os.path.realpath(inventory), "pg": pg, "clients": clients, "edition": edition}
        if zfs:
            wanted["zfs"] = True
            if not os.path.exists(FUSE):
                raise LabError("--zfs needs %s, which this machine does not have (modprobe fuse)" % FUSE)
        if count:
            wanted.update(stores=count, sided=sided)
            stores.check(count, sided)
        existing = podman.containers(self.project)
        if existing and self.state:
            if os.environ.get("LAB_NET"):
                wanted["net"] = os.environ["LAB_NET"]
            for key, value in wanted.items():
                if self.state.get(key) != value:
                    raise LabError(
                        "lab %s is up with %s %s, asked for %s; take it down first (molecule/lab/lab down)"
                        % (self.project.name, key.replace("_", " "), self.state.get(key), value)
                    )
        if existing and self.state:
            if image.wanted() not in (None, self.state["image"]):
                self.say("the image would differ now; `lab down` and `lab up` to use it")
        else:
            name, has_11 = image.ensure(self.say)
            if pg == "11" and not has_11:
                raise LabError("PostgreSQL 11 is unavailable: it needs npm and %s" % image.POSTGRESQL_11)
            self.begin(inventory, wanted, name)
        steps = self.create()
        unfinished = steps or not self.state.get("ready")
        if unfinished:
            self.finish(guard, converge)
        if keep and converge and not self.state.get("snapshots"):
            snapshot.take(self)
        self.say("%s after %.1f s" % ("up" if unfinished else "already up", time.monotonic() - started))

    def enough_inotify(self):
        """Raise a limit of the machine that some dozen systemds use up, where it is at its small default."""
        path = "/proc/sys/fs/inotify/max_user_instances"
        with open(path, encoding="ascii") as stream:
            found = int(stream.read())
        if found < 512:
            try:
                with open(path, "w", encoding="ascii") as stream:
                    stream.write("1024")
                self.say("raised fs.inotify.max_user_instances from %d to 1024 until the next boot" % found)
            except OSError as error:
                self.say(
                    "fs.inotify.max_user_instances is %d and cannot be raised (%s): expect trouble" % (found, error)
                )

    def begin(self, inventory, wanted, image_name):
        """Fix what this lab is made of."""
        self.enough_inotify()
        self.remove_containers()
        self.remove_networks()
        with locked(os.path.join(CACHE, "net.lock"), "the networks"):
            self.claim(inventory, wanted, image_name)

    def claim(self, inventory, wanted, image_name):
        """Choose networks and make them before another lab chooses."""
        net = layout.choose_net(self.project)
        layout.copy_inventory(inventory, self.project, net, wanted["edition"], stores.wish(wanted))
        self.state = dict(wanted, net=net, image=image_name, ready=False)
        hosts = layout.read_inventory(self.project.inventory)
        self.plan = Plan(net, hosts)
        self.state["hosts"] = [
            {
                "name": h.name,
                "site": h.site,
                "address": h.address,
                "service": h.service,
                "roles": h.roles,
                "order": h.order,
                "config": h.config,
            }
            for h in hosts
        ]
        self.make_dns_key()
        layout.write_lab_variables(self.project, self.plan, wanted["clients"], wanted["edition"])
        self.project.save(self.state)
        self.create_networks()

    def make_dns_key(self):
        """The key that may update the name server of the nsupdate variant."""
        path = self.project.path("ddns.key")
        if not os.path.exists(path):
            secret = base64.b64encode(os.urandom(32)).decode()
            write(path, 'key "lab" {\n    algorithm hmac-sha256;\n    secret "%s";\n};\n' % secret, mode=0o600)

    def renew_inventory(self):
        """Make the working copy again as it was at the beginning."""
        layout.copy_inventory(
            self.state["inventory_source"],
            self.project,
            self.plan.net,
            self.state["edition"],
            stores.wish(self.state),
        )
        layout.write_lab_variables(self.project, self.plan, self.state["clients"], self.state["edition"])

    def create(self, tell=True):
        """Make what is missing, all at once; return how many things were made or started."""
        self.write_files()
        made = self.create_networks()
        states = podman.containers(self.project)
        missing = [name for name in self.members() if self.container(name) not in states]
        stopped = [
            name for name in self.members() if states.get(self.container(name)) in ("exited", "created", "stopped")
        ]
        paused = [name for name in self.members() if states.get(self.container(name)) == "paused"]
        began = time.monotonic()
        podman.parallel(self.run_container, missing, workers=4)
        podman.parallel(lambda name: podman.run("start", self.container(name)), stopped, workers=4)
        podman.parallel(lambda name: podman.run("unpause", self.container(name)), paused, workers=4)
        changed = missing + stopped
        if changed:
            self.say("started %d containers in %.1f s" % (len(changed), time.monotonic() - began))
            self.wait_booted(changed, tell)
            self.say("%d systems booted %.1f s after the first was created" % (len(changed), time.monotonic() - began))
        return made + len(changed) + len(paused)

    def create_networks(self):
        made = 0
        known = podman.run("network", "ls", "--format", "{{.Name}}").stdout.split()
        for name, subnet in self.plan.subnets().items():
            network = self.project.network(name)
            if network not in known:
                podman.run(
                    "network",
                    "create",
                    "--internal",
                    "--disable-dns",
                    "--subnet",
                    subnet,
                    "--label",
                    "circonus-lab.project=" + self.project.name,
                    network,
                )
                made += 1
        return made

    def write_files(self):
        """Write what the containers have mounted: facts, routes, the public key; and the way in for ssh."""
        project, plan = self.project, self.plan
        key = project.path("id_ed25519")
        if not os.path.exists(key):
            done = subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab-" + project.name, "-f", key],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise LabError("ssh-keygen: %s" % (done.stderr.strip() or done.stdout.strip()))
        conf = os.environ.get("CONTAINERS_CONF")
        write(
            project.path("ssh-proxy"),
            "#!/bin/sh\n# ssh's way to a host: through the client container, like an operator through the NOC.\n%s"
            'exec podman exec -i %s nc -w 5 "$1" "$2"\n'
            % ("export CONTAINERS_CONF='%s'\n" % conf if conf else "", self.container("client")),
            mode=0o755,
        )
        for name in self.members():
            facts = {
                "host": name,
                "pg_version": self.state["pg"],
                "edition": self.state["edition"],
                "client_address": plan.client_address,
                "clients": self.state["clients"],
            }
            routes = plan.client_routes() if name in ("client", "dns") else ""
            for host in self.hosts:
                if host.name == name:
                    facts.update(site=host.site, service_address=host.service, roles=host.roles)
                    routes = plan.host_routes(host)
            if self.state["clients"] == "nsupdate":
                facts["dns"] = {"server": plan.service(DNS), "zone": layout.ZONE}
            directory = project.path("hosts", name)
            write(
                os.path.join(directory, "facts.json"), json.dumps(facts, indent=2, sort_keys=True) + "\n", in_place=True
            )
            write(os.path.join(directory, "network"), routes, in_place=True)

    def run_container(self, name):
        """Create and start one container; `--replace` repairs one that a crash left half made."""
        project, plan = self.project, self.plan
        directory = project.path("hosts", name)
        if name == "router":
            legs = plan.router_legs()
        elif name in ("client", "dns"):
            legs = [("service", plan.service(CLIENT if name == "client" else DNS), "svc0")]
        else:
            legs = plan.legs(self.host(name))
        options = [
            "--replace",
            "--name",
            self.container(name),
            "--hostname",
            name,
            "--systemd=always",
            "--stop-timeout",
            "5",
            # A host that reboots itself comes back; one that is killed or stopped from outside does not.
            "--restart",
            "unless-stopped",
            "--label",
            "circonus-lab.project=" + project.name,
            "--label",
            "circonus-lab.host=" + name,
            "--cap-add",
            "NET_ADMIN,NET_RAW,SYS_PTRACE",
            "--no-hosts",
            "--dns",
            "none",
        ]
        if name == "router":
            options += ["--sysctl", "net.ipv4.ip_forward=1"]
        if self.state.get("zfs") and any(host.name == name and "data_storage" in host.roles for host in self.hosts):
            options += ["--device", FUSE, "--cap-add", "SYS_ADMIN"]
        for network, address, interface in legs:
            # A machine that boots again has the same address of hardware; its neighbours still know it.
            options += [
                "--network",
                "%s:ip=%s,mac=%s,interface_name=%s"
                % (project.network(network), address, layout.hardware_address(address), interface),
            ]
        mounts = {
            os.path.join(directory, "facts.json"): "/etc/circonus-lab.json",
            os.path.join(directory, "network"): "/etc/circonus-lab.network",
            project.path("id_ed25519.pub"): "/etc/ssh/lab_authorized_keys",
        }
        for source, target in mounts.items():
            options += ["--volume", "%s:%s:ro" % (source, target)]
        podman.run(
            "run", "-d", *options, self.state.get("snapshots", {}).get(name) or self.state["image"], "/sbin/init"
        )

    def wait_booted(self, names, tell=True):
        def wait(name):
            done = self.execute(
                name, "timeout", str(BOOT_DEADLINE), "sh", "-c", WAIT_FOR_BOOT, check=False, timeout=BOOT_DEADLINE + 10
            )
            if done.returncode != 0:
                raise LabError(
                    "%s did not boot within %d s; look at `molecule/lab/lab exec %s -- journalctl -b`"
                    % (name, BOOT_DEADLINE, name)
                )
            return name, done.stdout.split()

        for name, failed in podman.parallel(wait, names, workers=16):
            if failed and tell:
                self.say("%s: failed units: %s" % (name, ", ".join(failed)))

    def finish(self, guard, converge):
        """Everything after boot: name service, site.json, Hooper in run order, the guard, the client address."""
        if self.state["clients"] == "nsupdate":
            from . import dns

            dns.configure(self)
        if converge:
            self.distribute()
            self.converge()
            self.attach_client_address()
            # Brokers are not Hooper's: the lab installs them, while Ansible installs the guard elsewhere.
            # A lab for its store does without the guard: its database has no standby.
            guarded = guard and not self.state.get("stores")
            steps = [self.install_brokers] + ([self.install_guard] if guarded else [])
            podman.parallel(lambda step: step(), steps)
        self.state["ready"] = True
        self.project.save(self.state)

    def distribute(self):
        """Put the site's file on every platform host."""
        texts = {}
        for host in self.platform:
            with open(os.path.join(self.project.inventory, host.config), encoding="utf-8") as stream:
                texts[host.name] = stream.read()
        script = "umask 077; mkdir -p %s && cat > %s/.new && mv %s/.new %s/site.json" % ((DATA_BAG,) * 4)
        podman.parallel(lambda host: self.execute(host.name, "sh", "-c", script, stdin=texts[host.name]), self.platform)

    def waves(self):
        """Return [[hosts that may run at once]], in Hooper's run order.

        A database host waits for the one it replicates from: the primary, then the hosts that copy from it (each other
        site's connect_host among them), then the rest of those sites. A later stage needs one host of the stage before
        it to be up, not all of them, so the last database hosts run beside stages 2 to 5.
        """
        files = self.site_files()

        def wave(host):
            database = files[host.site].get("svclist", {}).get("web_db", {})
            master = database.get("master") or (database.get("_machlist") or [""])[0]
            source = database.get("connect_host")
            if "web_db" not in host.roles:
                return 2 if host.order < 6 else 3
            return 0 if host.name == master else 1 if host.name == source or source == master else 2

        grouped = {}
        for host in self.platform:
            grouped.setdefault(wave(host), []).append(host)
        return [grouped[key] for key in sorted(grouped)]

    def converge(self):
        """Run Hooper in run order until every host is clean."""
        if self.execute(self.platform[0].name, "test", "-x", HOOPER, check=False).returncode != 0:
            self.say("this image has no %s: containers only" % HOOPER)
            return
        began = time.monotonic()
        dirty = {host.name for host in self.platform}
        last = {}
        for number in range(HOOPER_PASSES):
            for wave in self.waves():
                todo = [host for host in wave if host.name in dirty]
                for host, code, summary in podman.parallel(
                    lambda h, first=number == 0: self.hooper(h, first), todo, workers=4
                ):
                    last[host.name] = (code, summary)
                    if code == 0 and not summary:
                        dirty.discard(host.name)
            if not dirty:
                self.say(
                    "Hooper ran clean on %d hosts in %.1f s, %d pass(es)"
                    % (len(last), time.monotonic() - began, number + 1)
                )
                return
        name = sorted(dirty)[0]
        code, summary = last[name]
        raise LabError(
            "Hooper is not clean on %s after %d passes (exit code %d: %s); see %s"
            % (
                ", ".join(sorted(dirty)),
                HOOPER_PASSES,
                code,
                summary or "no summary",
                self.project.path("log", "hooper-%s.log" % name),
            )
        )

    def hooper(self, host, first):
        """Return (host, exit code, first WARNING/NOTICE/FATAL line or "")."""
        output, code = "", 0
        for arguments in ([["self-configure"]] if first else []) + [["-m"]]:
            done = self.execute(host.name, HOOPER, *arguments, check=False, timeout=300)
            output += "$ run-hooper %s\n%s%s[exit %d]\n" % (
                " ".join(arguments),
                done.stdout,
                done.stderr,
                done.returncode,
            )
            code = done.returncode
            if code:
                break
        write(self.project.path("log", "hooper-%s.log" % host.name), output)
        lines = [line.strip() for line in output.splitlines() if any(w in line for w in ("FATAL", "WARNING", "NOTICE"))]
        return host, code, lines[0] if lines else ""

    @property
    def brokers(self):
        return [host for host in self.hosts if not host.is_platform]

    def install_brokers(self):
        """Install noitd on every broker and let the platform know it, as the hub's jobs of every minute would."""
        brokers = self.brokers
        files = self.site_files()
        if not brokers or "ca" not in files[self.active_site()].get("svclist", {}):
            return
        began = time.monotonic()

        def install(host):
            asked = {"name": host.name, "address": host.address, "site": files[self.active_site()]}
            done = self.execute(host.name, INSTALL_BROKER, stdin=json.dumps(asked), check=False, timeout=120)
            if done.returncode != 0:
                said = (done.stdout + done.stderr).strip().splitlines() or ["nothing said"]
                raise LabError("broker %s: %s" % (host.name, said[-1]))

        podman.parallel(install, brokers)
        active = self.active_site()
        hubs = sorted((host for host in self.platform if "hub" in host.roles), key=lambda host: host.site != active)
        for script in HUB_SCRIPTS:
            for host in hubs:
                done = self.execute(host.name, script, check=False, timeout=60)
                if done.returncode != 0:
                    self.say("%s on %s: %s" % (script, host.name, (done.stderr.strip() or "failed").splitlines()[-1]))
        self.say("%d broker(s) installed in %.1f s" % (len(brokers), time.monotonic() - began))

    def install_guard(self):
        """Install the product's guard of the database hosts; Hooper does not know it."""
        playbook = os.path.join(ROOT, "playbooks", "web_db_guard.yml")
        if not os.path.exists(playbook):
            self.say("playbooks/web_db_guard.yml does not exist: database hosts are not guarded")
            return
        began = time.monotonic()
        log = self.project.path("log", "web_db_guard.log")
        with open(log, "w", encoding="utf-8") as stream:
            done = subprocess.run(
                [layout.find_ansible("ansible-playbook"), playbook],
                stdout=stream,
                stderr=stream,
                check=False,
                env=layout.ansible_environment(self.project),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
            )
        if done.returncode != 0:
            raise LabError("playbooks/web_db_guard.yml failed (%d); see %s" % (done.returncode, log))
        self.say("web_db guard installed in %.1f s" % (time.monotonic() - began))

    def attach_client_address(self):
        """Give the client address to the active site's entry host, unless some host has it already."""
        alias = self.plan.client_address
        if self.state["clients"] != "ip_alias":
            return
        holders = [host.name for host in self.platform if alias.split("/")[0] in self.addresses(host.name)]
        if holders:
            return
        files = self.site_files()
        entry = files[self.active_site()]["svclist"]["web_db"]["connect_host"]
        self.execute(entry, "ip", "address", "add", alias, "dev", "svc0")
        self.execute(entry, "arping", "-q", "-U", "-c", "1", "-I", "svc0", alias.split("/")[0], check=False)

    def addresses(self, name):
        done = self.execute(name, "ip", "-j", "address", "show", check=False)
        if done.returncode != 0:
            return []
        return [info["local"] for link in json.loads(done.stdout) for info in link.get("addr_info", [])]

    # -- down --------------------------------------------------------------------------------------------------------

    def remove_containers(self, names=None):
        known = podman.containers(self.project)
        chosen = (
            list(known) if names is None else [self.container(name) for name in names if self.container(name) in known]
        )
        # A frozen container cannot be killed on cgroup version 1: thaw it first.
        podman.parallel(
            lambda name: podman.run("unpause", name, check=False), [n for n in chosen if known[n] == "paused"]
        )
        podman.parallel(podman.remove, chosen, workers=4)
        return len(chosen)

    def remove_networks(self):
        mine = "label=circonus-lab.project=" + self.project.name
        networks = podman.run("network", "ls", "-q", "--filter", mine).stdout.split()
        for network in networks:
            podman.run("network", "rm", network)
        return len(networks)

    def down(self, with_image=False):
        from . import snapshot

        podman.prepare()
        began = time.monotonic()
        count = self.remove_containers()
        networks = self.remove_networks()
        snapshot.close_connections(self)
        snapshot.remove(self.project)
        shutil.rmtree(self.project.directory, ignore_errors=True)
        shutil.rmtree("/tmp/circonus-lab-%d-%s" % (os.geteuid(), self.project.name), ignore_errors=True)
        if with_image:
            image.prune(everything=True)
            shutil.rmtree(image.IMAGE_CACHE, ignore_errors=True)
        self.say(
            "lab %s: removed %d containers and %d networks in %.1f s"
            % (self.project.name, count, networks, time.monotonic() - began)
        )

    # -- status ------------------------------------------------------------------------------------------------------

    def status(self):
        """Return everything a person or a test wants to know, read from the containers."""
        from . import network

        states = podman.containers(self.project)

        def look(name):
            entry = {
                "name": name,
                "container": self.container(name),
                "state": states.get(self.container(name), "absent"),
            }
            if entry["state"] == "running":
                done = self.execute(name, "/usr/local/libexec/circonus-lab/host-status", check=False, timeout=20)
                try:
                    entry.update(json.loads(done.stdout))
                except ValueError:
                    entry["error"] = (done.stderr.strip() or "no answer").splitlines()[-1]
            for host in self.hosts:
                if host.name == name:
                    entry.update(site=host.site, roles=host.roles, address=host.address, service_address=host.service)
            return entry

        members = podman.parallel(look, self.members())
        alias = self.plan.client_address.split("/")[0]
        return {
            "project": self.project.name,
            "net": self.plan.net,
            "pg": self.state["pg"],
            "edition": self.state["edition"],
            "clients": self.state["clients"],
            "image": self.state["image"],
            "ready": self.state.get("ready", False),
            "active_site": self.active_site(),
            "client_address": self.plan.client_address,
            "client_address_on": [m["name"] for m in members if alias in m.get("addresses", [])],
            "primaries": [m["name"] for m in members if m.get("database") == "primary"],
            "network": network.status(self),
            "inventory": layout.inventory_file(self.project.inventory),
            "hosts": members,
        }


def describe(status):
    """Return the status as text."""
    link = status["network"]
    lines = [
        "lab %s: PostgreSQL %s, clients by %s, edition %s, networks %s.*"
        % (status["project"], status["pg"], status["clients"], status["edition"], status["net"]),
        "active site (site.json): %s; database primary: %s; client address %s on %s"
        % (
            status["active_site"],
            ", ".join(status["primaries"]) or "none",
            status["client_address"],
            ", ".join(status["client_address_on"]) or "no host",
        ),
        "link between the sites: %s; isolated sites: %s" % (link["link"], ", ".join(link["isolated"]) or "none"),
        "",
        "%-13s %-8s %-15s %-15s %-9s %s"
        % ("HOST", "STATE", "SITE ADDRESS", "SERVICE ADDRESS", "DATABASE", "ROLES (and failed units)"),
    ]
    for entry in status["hosts"]:
        text = " ".join(entry.get("roles", [])) or {
            "router": "link between the sites",
            "client": "clients and NOC (ssh way in)",
            "dns": "name server",
        }.get(entry["name"], "")
        if entry.get("failed"):
            text += "  FAILED: " + " ".join(entry["failed"])
        lines.append(
            "%-13s %-8s %-15s %-15s %-9s %s"
            % (
                entry["name"],
                entry["state"],
                entry.get("address", ""),
                entry.get("service_address", ""),
                entry.get("database") or "",
                text,
            )
        )
    lines += ["", "inventory: %s" % status["inventory"]]
    return "\n".join(lines)
