"""Faults of the network: the link between the sites, and a site's connection to everybody else."""

import re

from . import LabError, podman
from .layout import leg_name

CUT = "lab_cut"
ISOLATED = "lab_isolated"
SERVICE_LEG = (
    """table netdev %s {
 chain in { type filter hook ingress device svc0 priority 0; drop; }
 chain out { type filter hook egress device svc0 priority 0; drop; }
}
"""
    % ISOLATED
)


def apply_rules(lab, cut, isolated):
    """Write the router's rules anew; dropped, not rejected: a broken line does not answer."""
    rules = []
    if cut and len(lab.plan.sites) == 2:
        one, other = (leg_name(site) for site in lab.plan.sites)
        rules += ["iifname %s oifname %s drop" % pair for pair in ((one, other), (other, one))]
    for site in isolated:
        rules += ["iifname %s drop" % leg_name(site), "oifname %s drop" % leg_name(site)]
    text = "table inet %s\ndelete table inet %s\ntable inet %s {\n" % ((CUT,) * 3)
    text += ' comment "cut=%s isolated=%s"\n' % ("yes" if cut else "no", ",".join(sorted(isolated)) or "-")
    text += " chain forward {\n  type filter hook forward priority 0;\n%s }\n}\n" % "".join(
        "  %s\n" % rule for rule in rules
    )
    lab.execute("router", "nft", "-f", "-", stdin=text)


def status(lab):
    """Return {"link": "up" | "cut" | "slow RATE", "isolated": [sites]}."""
    done = lab.execute(
        "router",
        "sh",
        "-c",
        "nft list tables; nft list table inet %s 2>/dev/null; tc qdisc show; tc class show dev %s"
        % (CUT, leg_name(lab.plan.sites[0])),
        check=False,
    )
    if done.returncode not in (0, 1):
        return {"link": "unknown (the router does not run)", "isolated": []}
    found = re.search(r'comment "cut=(\w+) isolated=(\S+)"', done.stdout)
    cut = bool(found) and found.group(1) == "yes"
    isolated = [] if not found or found.group(2) == "-" else found.group(2).split(",")
    rate = re.search(r"class htb 1:20 .*?rate (\S+)", done.stdout)
    return {"link": "cut" if cut else "slow %s" % rate.group(1) if rate else "up", "isolated": isolated}


def link(lab, action, rate=None):
    if len(lab.plan.sites) < 2:
        raise LabError("lab %s has one site, so there is no link" % lab.project.name)
    now = status(lab)
    if action == "cut":
        apply_rules(lab, True, now["isolated"])
    elif action == "heal":
        apply_rules(lab, False, now["isolated"])
        shape(lab, None)
    elif action == "slow":
        if not re.match(r"^[0-9]+(\.[0-9]+)?[kmg]?(bit|bps)$", rate or "", re.I):
            raise LabError("link slow needs a rate such as 1mbit or 256kbit, found %r" % rate)
        shape(lab, rate)
    return status(lab)


def shape(lab, rate):
    """Limit what crosses from site to site, and only that, on each of the router's legs."""
    for site, other in (lab.plan.sites, lab.plan.sites[::-1]):
        leg = leg_name(site)
        lab.execute("router", "tc", "qdisc", "del", "dev", leg, "root", check=False)
        if rate:
            for command in (
                "qdisc add dev %s root handle 1: htb default 10" % leg,
                "class add dev %s parent 1: classid 1:10 htb rate 10gbit" % leg,
                "class add dev %s parent 1: classid 1:20 htb rate %s burst 16k cburst 16k" % (leg, rate),
                "qdisc add dev %s parent 1:20 handle 20: pfifo limit 200" % leg,
                "filter add dev %s parent 1: protocol ip u32 match ip src %s flowid 1:20"
                % (leg, lab.plan.subnets()[other]),
            ):
                lab.execute("router", "tc", *command.split())


def site(lab, action, name):
    """Take a site off every network, or put it back."""
    if name not in lab.plan.sites:
        raise LabError("lab %s has no site %s; it has %s" % (lab.project.name, name, ", ".join(lab.plan.sites)))
    now = status(lab)
    isolated = set(now["isolated"]) - {name}
    if action == "isolate":
        isolated.add(name)
    apply_rules(lab, now["link"] == "cut", isolated)
    states = podman.containers(lab.project)

    def leg(host):
        if states.get(lab.container(host.name)) == "running":
            lab.execute(host.name, "nft", "delete", "table", "netdev", ISOLATED, check=False)
            if action == "isolate":
                lab.execute(host.name, "nft", "-f", "-", stdin=SERVICE_LEG)
            return None
        return host.name

    skipped = [host for host in podman.parallel(leg, [h for h in lab.hosts if h.site == name]) if host]
    return dict(status(lab), skipped=skipped)


def restore(lab):
    """Undo every fault on the router and on hosts that stay."""
    apply_rules(lab, False, [])
    shape(lab, None)
    for host in lab.hosts:
        if not host.is_platform:
            lab.execute(host.name, "nft", "delete", "table", "netdev", ISOLATED, check=False)
