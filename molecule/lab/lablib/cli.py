"""The command line of the lab."""

import argparse
import json
import os
import shlex
import subprocess
import sys

from . import LabError, cluster, image, layout, network, podman, snapshot, writer
from .paths import ROOT, Project


def parser():
    top = argparse.ArgumentParser(
        prog="lab",
        description="Two small sites of the platform in containers on this machine (docs/lab.md).",
        epilog="LAB_PROJECT names the lab (default circonus); LAB_NET its networks (default 10.89.100); LAB_BASE_IMAGE "
        "a base image to use instead of building one.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, text, **options):
        return commands.add_parser(name, help=text, description=text, **options)

    up = add(
        "up",
        "build the image if needed, start every container, run Hooper in run order; again: repairs or does nothing",
    )
    up.add_argument(
        "--inventory",
        default=os.path.join(ROOT, "inventories", "lab"),
        help="directory with one *.site.yml (default inventories/lab)",
    )
    up.add_argument("--pg", choices=["15", "11"], default="15", help="PostgreSQL version (default 15)")
    up.add_argument(
        "--clients",
        choices=["ip_alias", "nsupdate"],
        default="ip_alias",
        help="what clients follow: an address or a DNS name",
    )
    up.add_argument(
        "--edition", choices=["later", "2019"], default="later", help="edition of the manual that stand-ins follow"
    )
    up.add_argument("--zfs", action="store_true", help="the store's data on real ZFS (zfs-fuse); needs /dev/fuse")
    up.add_argument(
        "--stores",
        type=int,
        default=0,
        metavar="N",
        help="one small site with so many data_storage nodes (2 to 12) instead of the whole inventory",
    )
    up.add_argument("--sided", action="store_true", help="with --stores: half of the nodes on each of two sides")
    up.add_argument("--no-guard", action="store_true", help="do not install the web_db guard")
    up.add_argument("--no-converge", action="store_true", help="containers and networks only, no site.json, no Hooper")
    up.add_argument("--snapshot", action="store_true", help="keep the hosts as they are then, for a quick reset")
    add("snapshot", "keep the hosts as they are now (short downtime); reset returns to it")
    reset = add("reset", "replace all platform hosts: back to the snapshot if there is one, else to the beginning")
    reset.add_argument("--no-guard", action="store_true", help="do not install the web_db guard (without a snapshot)")
    down = add("down", "remove containers, networks and state of this lab; keeps the image")
    down.add_argument("--image", action="store_true", help="remove the images and the build cache as well")
    status = add("status", "what runs where")
    status.add_argument("--json", action="store_true", help="machine-readable")
    add("env", 'print exports for a shell: eval "$(molecule/lab/lab env)"')
    add("image", "build the image and print its name")
    run = add("exec", "run a command on a host: lab exec HOST -- COMMAND")
    run.add_argument("host")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    link = add("link", "the link between the sites")
    link.add_argument("action", choices=["cut", "heal", "slow", "status"])
    link.add_argument("rate", nargs="?", help="for slow: 1mbit, 256kbit, ...")
    site = add("site", "take a site off all networks, or put it back")
    site.add_argument("action", choices=["isolate", "heal"])
    site.add_argument("site")
    client = add("writer", "a client that never stops committing, and the count of what it lost")
    client.add_argument("action", choices=["start", "stop", "report"])
    client.add_argument("--interval", type=float, default=5, metavar="MS", help="pause between commits (default 5 ms)")
    client.add_argument("--json", action="store_true", help="machine-readable")
    host = add("host", "power off, freeze, thaw or start hosts; @SITE stands for all hosts of a site")
    host.add_argument("action", choices=["kill", "pause", "resume", "start"])
    host.add_argument("hosts", nargs="+", metavar="HOST")
    return top


def main(argv=None):
    options = parser().parse_args(argv)
    try:
        return dispatch(options) or 0
    except LabError as error:
        print("lab: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def show(value):
    print(json.dumps(value, indent=2, sort_keys=True))


def dispatch(options):
    project = Project()
    if options.command == "image":
        podman.prepare()
        print(image.ensure(lambda text: print(text, file=sys.stderr))[0])
        return 0
    lab = cluster.Lab(project, say=lambda text: print(text, flush=True))
    if options.command == "up":
        if options.sided and not options.stores:
            raise LabError("--sided needs --stores, such as --stores 6 --sided")
        with project.lock():
            lab = cluster.Lab(project, say=lab.say)
            lab.up(
                options.inventory,
                pg=options.pg,
                clients=options.clients,
                edition=options.edition,
                guard=not options.no_guard,
                converge=not options.no_converge,
                keep=options.snapshot,
                zfs=options.zfs,
                count=options.stores,
                sided=options.sided,
            )
        print(cluster.describe(lab.status()))
        return 0
    if options.command == "down":
        with project.lock():
            cluster.Lab(project, say=lab.say).down(with_image=options.image)
        return 0
    lab.require()
    return globals()["command_" + options.command](lab, options)


def command_status(lab, options):
    status = lab.status()
    if options.json:
        show(status)
    else:
        print(cluster.describe(status))


def command_env(lab, _options):
    environment = layout.ansible_environment(lab.project)
    names = ["ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME", "ANSIBLE_INVENTORY", "LAB_PROJECT"]
    if os.environ.get("CONTAINERS_CONF"):
        names.append("CONTAINERS_CONF")
    programs = os.path.dirname(layout.find_ansible("ansible-playbook"))
    if programs not in environment["PATH"].split(os.pathsep):
        environment["PATH"] = programs + os.pathsep + environment["PATH"]
        names.append("PATH")
    for name in names:
        print("export %s=%s" % (name, shlex.quote(environment[name])))


def command_exec(lab, options):
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    name = lab.select([options.host])[0]
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    return subprocess.run(
        ["podman", "exec", "-i", *terminal, lab.container(name), *(argv or ["bash"])], check=False
    ).returncode


def command_link(lab, options):
    with lab.project.lock():
        show(network.status(lab) if options.action == "status" else network.link(lab, options.action, options.rate))


def command_snapshot(lab, _options):
    with lab.project.lock():
        snapshot.take(lab)


def command_reset(lab, options):
    with lab.project.lock():
        snapshot.reset(lab, guard=not options.no_guard)


def command_site(lab, options):
    with lab.project.lock():
        show(network.site(lab, options.action, options.site))


def command_writer(lab, options):
    if options.action == "start":
        result = writer.start(lab, options.interval)
    else:
        result = {"stop": writer.stop, "report": writer.report}[options.action](lab)
    if options.json:
        show(result)
    else:
        print(writer.describe(result))


def command_host(lab, options):
    names = lab.select(options.hosts)
    states = podman.containers(lab.project)

    def act(name):
        container = lab.container(name)
        state = states.get(container, "absent")
        if options.action == "kill" and state != "exited":
            if state == "paused":
                podman.run("unpause", container)
            podman.run("kill", "--signal", "KILL", container)
            podman.run("wait", container, check=False)
        elif options.action == "pause" and state == "running":
            podman.run("pause", container)
        elif options.action == "resume" and state == "paused":
            podman.run("unpause", container)
        elif options.action == "start" and state not in ("running", "paused"):
            podman.run("start", container)

    podman.parallel(act, names)
    if options.action == "start":
        lab.wait_booted(names)
