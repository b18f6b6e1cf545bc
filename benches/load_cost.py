#!/usr/bin/env python3
"""What a request costs the load itself: tidegate-load beside wrk, against the same origin.

    benches/load_cost.py [--rounds 5] [--seconds 2] [--path /]

The origin is pinned to one core, the load to another, and the two loads take turns. CPU is user plus system time of
the whole process as the kernel tells it when the process ends, start-up included.
"""

import argparse
import json
import os
import re
import statistics
import subprocess

from tools import binary, free_port, running


def cost(command):
    """Runs a load pinned to core 0; microseconds of user and system time for each request, and what it said."""
    child = subprocess.Popen(["taskset", "-c", "0"] + command, stdout=subprocess.PIPE, text=True)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command} failed with {child.returncode}: {said}")
    return usage.ru_utime, usage.ru_stime, said


def by_wrk(connections, seconds, url):
    user, system, said = cost(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url])
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    return user / requests * 1e6, system / requests * 1e6


def by_ours(connections, seconds, url):
    command = [binary("tidegate-load"), "-c", str(connections), "--duration", str(seconds), "--json", url]
    user, system, said = cost(command)
    requests = json.loads(said)["requests"]
    return user / requests * 1e6, system / requests * 1e6


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--seconds", type=int, default=2)
    flags.add_argument("--path", default="/")
    asked = flags.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}{asked.path}"
    print("CPU for each request in us, median of the rounds: user + system = all (least to most)")
    with running([binary("tidegate-origin"), "--port", str(port)], port, core=1):
        for connections in [1, 8, 64, 256, 1000]:
            rounds = {by_wrk: [], by_ours: []}
            for _ in range(asked.rounds):
                for load, seen in rounds.items():
                    seen.append(load(connections, asked.seconds, url))
            middle = {}
            for load, seen in rounds.items():
                user, system = (statistics.median(part) for part in zip(*seen))
                sums = [sum(one) for one in seen]
                middle[load] = statistics.median(sums)
                name = "wrk" if load is by_wrk else "tidegate-load"
                print(f"{connections:5} connections  {name:13} {user:5.2f} + {system:5.2f} = {middle[load]:5.2f}"
                      f"  ({min(sums):.2f} to {max(sums):.2f})")
            print(f"{connections:5} connections  ratio {middle[by_ours] / middle[by_wrk]:.2f}", flush=True)


if __name__ == "__main__":
    main()
