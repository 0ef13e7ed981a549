"""Keep the hosts of a lab as they are now, and bring a lab back to that (or to its beginning) without a new `up`."""

import glob
import os
import shutil
import subprocess
import time

from . import LabError, network, podman

NAME = "localhost/circonus-lab-snapshot"
READY_DEADLINE = 120
CORE = "circonus-postgres-*|circonus-epmd.service|circonus-rabbitmq.service|circonus-inside-*"
# After a power-up of everything, what needs the database and the queue may have started before them, and stays broken
# until somebody restarts it: first wait for the core, then start the rest once more.
SETTLED = """
for i in $(seq 1200); do
  busy=
  for unit in $(systemctl list-units --plain --no-legend --state=activating,deactivating,failed 'circonus-*' |
    cut -d' ' -f1); do
    case "$unit" in %(core)s) busy=$unit;; esac
  done
  [ -n "$busy" ] || exit 0
  systemctl is-failed --quiet "$busy" && systemctl restart "$busy"
  sleep 0.1
done
exit 1
""" % {"core": CORE}
RESTART_REST = """
for unit in $(systemctl list-unit-files --plain --no-legend --state=enabled 'circonus-*' 'caql-broker*' |
  cut -d' ' -f1); do
  case "$unit" in %(core)s) ;; *) units="$units $unit";; esac
done
[ -z "$units" ] || systemctl restart $units
""" % {"core": CORE}


def tag(lab, host):
    return "%s-%s:%s" % (NAME, lab.project.name, host)


def names(project):
    out = podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return [name for name in out if name.startswith("%s-%s:" % (NAME, project.name))]


def remove(project):
    """Remove what `take` kept."""
    for name in names(project):
        podman.run("rmi", "-f", name, check=False)


def take(lab):
    """Shut the platform hosts down cleanly, keep them as images, and start them again."""
    began = time.monotonic()
    hosts = [host.name for host in lab.platform]
    lab.state["snapshots"] = {}
    lab.project.save(lab.state)
    podman.parallel(lambda name: podman.run("stop", "-t", "30", lab.container(name)), hosts)
    podman.parallel(lambda name: podman.run("commit", "-q", lab.container(name), tag(lab, name), timeout=600), hosts, 2)
    shutil.rmtree(lab.project.path("inventory.kept"), ignore_errors=True)
    shutil.copytree(lab.project.inventory, lab.project.path("inventory.kept"))
    podman.parallel(lambda name: podman.run("start", lab.container(name)), hosts, workers=4)
    lab.wait_booted(hosts, tell=False)
    settle(lab, hosts)
    lab.state["snapshots"] = {name: tag(lab, name) for name in hosts}
    lab.project.save(lab.state)
    lab.attach_client_address()
    lab.say("kept %d hosts for reset in %.1f s" % (len(hosts), time.monotonic() - began))


def settle(lab, hosts):
    """Wait until the units of booted hosts have come up, the core first."""

    def wait(name):
        return name, lab.execute(name, "sh", "-c", SETTLED, check=False, timeout=READY_DEADLINE + 30).returncode

    def restart(name):
        return name, lab.execute(name, "sh", "-c", RESTART_REST, check=False, timeout=READY_DEADLINE).returncode

    late = [name for name, code in podman.parallel(wait, hosts, workers=16) if code]
    if late:
        raise LabError(
            "units of %s have not come up within %d s; see `lab exec HOST -- systemctl list-units 'circonus-*'`"
            % (", ".join(late), READY_DEADLINE)
        )
    broken = [name for name, code in podman.parallel(restart, hosts, workers=6) if code]
    if broken:
        raise LabError("services of %s do not start; see `lab exec HOST -- systemctl --failed`" % ", ".join(broken))


def close_connections(lab):
    """End the ssh connections that Ansible keeps open to hosts that are about to be replaced."""
    for directory in (lab.project.path("cp"), "/tmp/circonus-lab-%d-%s" % (os.geteuid(), lab.project.name)):
        for socket in glob.glob(os.path.join(directory, "*")):
            subprocess.run(
                ["ssh", "-o", "ControlPath=" + socket, "-O", "exit", "lab"],
                capture_output=True,
                check=False,
                timeout=10,
            )


def reset(lab, guard=True):
    """Replace every platform host; from the snapshot when there is one, else by running Hooper from the start."""
    began = time.monotonic()
    kept = lab.project.path("inventory.kept")
    snapshots = lab.state.get("snapshots") or {}
    hosts = [host.name for host in lab.platform]
    lab.state["ready"] = False
    lab.project.save(lab.state)
    close_connections(lab)
    lab.execute("client", "sh", "-c", "systemctl stop lab-writer; rm -rf /var/lib/lab-writer", check=False)
    lab.remove_containers(hosts)
    network.restore(lab)
    if snapshots:
        shutil.rmtree(lab.project.inventory)
        shutil.copytree(kept, lab.project.inventory)
    else:
        lab.renew_inventory()
    lab.create(tell=not snapshots)
    if snapshots:
        settle(lab, hosts)
        lab.attach_client_address()
        lab.state["ready"] = True
        lab.project.save(lab.state)
    else:
        lab.finish(guard, True)
    lab.say("reset in %.1f s" % (time.monotonic() - began))
