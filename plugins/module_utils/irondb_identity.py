# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether this host is the one data_storage node that is meant. Pure.

Asked before anything of a node is destroyed: six sources have to name the same node, and one that is missing counts as
one that disagrees. Sources: operation manual, "Reconstituting a Data Storage node" (the node id of site.json is the
directory below /snowth) and "Reassigning IP addresses" (a swapped pair is the main danger).

Evidence::

    {"site": {"node_id", "address", "owners": [hosts with this node_id]} or None,
     "site_problem": why there is no site.json,              # installed on this host
     "disk": {store: [uuids]}, "recorded": node id of an unfinished rebuild on this host or None,
     "addresses": [of this machine],
     "files": {"digest", "nodes": [{"id", "address"}]} or None, "files_problem": text,   # topology installed here
     "served": {"digest", "nodes"} or None, "served_problem": text,              # topology that the cluster serves
     "answers": node that answers at the address of the node, or None,
     "gossip": {asked node: {node: {"heard": bool, "current": digest or None}}}}
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils.topology import uuid_problem

SITE = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"


def problems(expected, evidence):
    """Sentences about what keeps this host from being proven as the node, worst first; empty when it is.

    expected: {"host", "node_id", "address"} as the inventory's site.json says.
    """
    host, identity = expected["host"], expected["node_id"]
    why = uuid_problem(identity)
    if why:
        return ["The node_id of {0} in site.json is {1}: {2}.".format(host, identity or "missing", why)]
    if not expected["address"]:
        return ["Expected ip_address of {0} in machinfo of site.json, found none.".format(host)]
    found = _site(expected, evidence) + _disk(expected, evidence) + _machine(expected, evidence)
    found += _topology(expected, evidence, "files", "installed in /opt/circonus/etc/snowth-topo of {0}".format(host))
    found += _topology(expected, evidence, "served", "that the cluster serves")
    files, served = evidence.get("files"), evidence.get("served")
    if files and served and files["digest"] != served["digest"]:
        sentence = "{0} has the topology {1}.. in topology.conf, the cluster serves {2}... Explain that first."
        found.append(sentence.format(host, files["digest"][:12], served["digest"][:12]))
    return found + _gossip(expected, evidence)


def _site(expected, evidence):
    host, site = expected["host"], evidence.get("site")
    if not site:
        return ["Expected {0} with machinfo.{1} on {1}, found none: {2}. Run site_distribute.yml first.".format(
            SITE, host, evidence.get("site_problem") or "it was not read")]
    found = []
    for key, what in (("node_id", "node_id"), ("address", "ip_address")):
        if site.get(key) != expected[key]:
            found.append("The site.json on {0} gives it the {1} {2}, that of the inventory {3}. One of them is stale: "
                         "run site_distribute.yml first.".format(host, what, site.get(key) or "none", expected[key]))
    others = [name for name in site.get("owners") or [] if name != host]
    if others:
        found.append("{0} and {1} have the same node_id {2} in site.json. Each needs its own.".format(
            host, others[0], expected["node_id"]))
    return found


def _disk(expected, evidence):
    host, identity, disk = expected["host"], expected["node_id"], evidence.get("disk")
    if not disk:
        return ["Expected the stores of {0} below /snowth, found none. Look whether it is mounted; on a new host run "
                "Hooper first.".format(host)]
    for store in sorted(disk):
        for other in disk[store]:
            if other != identity:
                return ["{0} holds the data of {1} in /snowth/{2}, site.json says {3}. Nothing may be done to it "
                        "before that is explained.".format(host, other, store, identity)]
    if any(disk.values()) or evidence.get("recorded") == identity:
        return []
    return ["Expected a directory {0} in the stores below /snowth on {1}, found none. Look whether everything is "
            "mounted; on a new host run Hooper first.".format(identity, host)]


def _machine(expected, evidence):
    if expected["address"] in (evidence.get("addresses") or []):
        return []
    return ["The machine that was reached as {0} has the addresses {1}, site.json says {2}. Look at ansible_host and "
            "site.json.".format(expected["host"], ", ".join(evidence.get("addresses") or []) or "none",
                                expected["address"])]


def _topology(expected, evidence, key, what):
    host, identity, topology = expected["host"], expected["node_id"], evidence.get(key)
    if not topology:
        return ["Expected the topology {0}, found none: {1}.".format(
            what, (evidence.get(key + "_problem") or "it was not read").rstrip("."))]
    members = [node for node in topology["nodes"] if node["id"] == identity]
    if not members:
        return ["{0} (node_id {1}) is not in the topology {2}. Hosts join a cluster by a rebalance, not by "
                "site.json.".format(host, identity, what)]
    at_address = [node["id"] for node in topology["nodes"] if node["address"] == expected["address"]]
    if at_address != [identity] or len(members) > 1:
        return ["The topology {0} has {1} at {2}, site.json says {3} of {4}. Correct the one that is wrong "
                "first.".format(what, " and ".join(at_address) or "no node", expected["address"], identity, host)]
    return []


def _gossip(expected, evidence):
    host, identity = expected["host"], expected["node_id"]
    if evidence.get("answers") not in (None, identity):
        return ["At {0} answers the node {1}, expected {2} of {3}. Nothing may be done to it before that is "
                "explained.".format(expected["address"], evidence["answers"], identity, host)]
    others = dict((asked, rows) for asked, rows in (evidence.get("gossip") or {}).items() if asked != identity)
    served = evidence.get("served") or {"digest": None, "nodes": []}
    known = [node["id"] for node in served["nodes"]]
    heard = False
    for asked in sorted(others):
        strangers = sorted(set(others[asked]) - set(known))
        if strangers:
            return ["The gossip of {0} knows the node {1}, the topology of the cluster does not. Explain that "
                    "first.".format(asked, strangers[0])]
        row = others[asked].get(identity)
        if row and row["heard"]:
            heard = True
            if row["current"] != served["digest"]:
                return ["{0} was heard of by {1} with the topology {2}.., the cluster has {3}... Explain that "
                        "first.".format(host, asked, (row["current"] or "none")[:12],
                                        (served["digest"] or "none")[:12])]
    if heard:
        return []
    return ["No other node has heard of {0} ({1}) by gossip. Start circonus-snowth on it once, or look at udp port "
            "8112: without it nobody else confirms who it is.".format(host, identity)]
