# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of a data_storage cluster that runs on a host of the lab: writes, reads and watches until it is told to end.

usage: storage_traffic.py DIRECTORY ADDRESS...

Each measurement goes to the next node that takes it; what was acknowledged is in DIRECTORY/acknowledged, a JSON line
each. Meanwhile each node is asked for its state and gossip a few times a second, and in between whether anybody
listens, as a quick restart is over in less; DIRECTORY/seen has a JSON line for every look: which nodes were down, and
the highest latency that the others told last. DIRECTORY/stop ends it.
"""
import json
import os
import socket
import sys
import threading
import time
import urllib.request
import uuid

#: One of its own for each run: of two values for one minute the higher stays, whoever wrote last.
CHECK = str(uuid.uuid4())
PORT = 8112
NUMBER_OF_METRICS = 20


def ask(address, path, body=None, timeout=3.0):
    request = urllib.request.Request("http://%s:%d%s" % (address, PORT, path), body)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def write(directory, addresses, over):
    """Measurements, each acknowledged by any node before the next; failed tries are counted."""
    base = int(time.time()) // 60 * 60 - 60 * 100000
    with open(os.path.join(directory, "acknowledged"), "w") as target:
        number = 0
        while not over():
            one = {"metric": "m%d" % (number % NUMBER_OF_METRICS), "timestamp": base + number // NUMBER_OF_METRICS * 60,
                   "value": number}
            body = json.dumps([{"id": CHECK, "metric": one["metric"], "offset": one["timestamp"], "count": 1,
                                "value": number}])
            for address in addresses[number % len(addresses):] + addresses:
                try:
                    ask(address, "/write/nnt", body.encode())
                except (OSError, ValueError):
                    continue
                target.write(json.dumps(one) + "\n")
                target.flush()
                break
            number += 1
            time.sleep(0.04)


def listens(address):
    try:
        socket.create_connection((address, PORT), timeout=1.0).close()
    except OSError:
        return False
    return True


def watch(directory, addresses, over):
    """Who is down, and how far the worst is behind, as the nodes tell it."""
    worst = 0.0
    with open(os.path.join(directory, "seen"), "w") as target:
        while not over():
            down, told = [], []
            for address in addresses:
                try:
                    ask(address, "/state", timeout=1.0)
                    told += [float(value) for row in ask(address, "/gossip/json", timeout=1.0)
                             for value in (row.get("latency") or {}).values()]
                except (OSError, ValueError):
                    down.append(address)
            worst = max(told) if told and not down else worst
            for moment in range(6):
                if moment:
                    time.sleep(0.04)
                    # Whoever listens again is up once it has said so.
                    down = [address for address in addresses if address in down or not listens(address)]
                target.write(json.dumps({"at": time.time(), "down": down, "worst": worst}) + "\n")
                target.flush()


def read(addresses, wanted):
    """``[lines of wanted that no node or a wrong one gives back]``."""
    metrics = {}
    for one in wanted:
        metrics.setdefault(one["metric"], []).append(one)
    lost = []
    for number, (metric, lines) in enumerate(sorted(metrics.items())):
        times = [one["timestamp"] for one in lines]
        rows = ask(addresses[number % len(addresses)], "/read/%d/%d/60/%s/average/%s" % (
            min(times), max(times) + 60, CHECK, metric), timeout=30.0)
        found = {int(row[0]): row[1] for row in rows}
        lost += [one for one in lines if found.get(one["timestamp"]) != one["value"]]
    return lost


def main():
    directory, addresses = sys.argv[1], sys.argv[2:]
    os.makedirs(directory, exist_ok=True)
    stop = os.path.join(directory, "stop")

    def over():
        return os.path.exists(stop)

    threads = [threading.Thread(target=work, args=(directory, addresses, over)) for work in (write, watch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(os.path.join(directory, "acknowledged")) as lines:
        wanted = [json.loads(line) for line in lines]
    print(json.dumps({"acknowledged": len(wanted), "lost": read(addresses, wanted)[:5]}))


main()
