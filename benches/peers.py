#!/usr/bin/env python3
"""tidegate beside nginx and HAProxy: CPU per request, throughput and latency.

    cargo build --release && benches/peers.py [--connections 64,1000] [--rounds 7] [--seconds 3]
    benches/peers.py --connections 8 --path /bytes/10485760

Every proxy runs on core 0 with one worker, the origin and wrk on core 1, access logs off. In each round every
proxy is measured once, in an order that is shuffled anew, so that what else the machine does falls on all
alike; what is told is the median over the rounds. CPU is that of the proxy's process and its children, user and
system, from /proc; it tells more than throughput where wrk is the bottleneck. The configurations of the others
are in benches/peers/, ours is in TIDEGATE below. Answers are compared before anything is measured.

Needs two cores, taskset and wrk; peers that are not installed are named and left out. Loopback only; ends by
itself after about connections x rounds x proxies x seconds.
"""

import argparse
import contextlib
import http.client
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import tools

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
PROXY_CORE, LOAD_CORE = 0, 1
TIDEGATE = [
    "--listen", "127.0.0.1:@port@", "--upstream", "http://127.0.0.1:@origin@", "--admin", "127.0.0.1:@admin@",
    "--workers", "1", "--access-log", "off", "--idle-timeout", "5m", "--log", "error",
]
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def fill(text, places):
    return re.sub(r"@(\w+)@", lambda found: str(places[found[1]]), text)


def command(name, directory, places):
    """How to start a proxy; nothing if it is not installed."""
    if name == "tidegate":
        return [tools.binary("tidegate")] + [fill(word, places) for word in TIDEGATE]
    template = PEERS / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]
    program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        return None
    config = pathlib.Path(directory) / template.name
    config.write_text(fill(template.read_text(), places))
    return [program, "-c", str(config)] if name == "nginx" else [program, "-db", "-f", str(config)]


def start(names, directory, origin, stack):
    """Starts the proxies; gives each one's port and process."""
    started = {}
    for name in names:
        places = {"port": tools.free_port(), "admin": tools.free_port(), "origin": origin, "dir": directory}
        words = command(name, directory, places)
        if words is None:
            print(f"{name} is not installed and left out")
            continue
        pid = stack.enter_context(tools.running(words, places["port"], core=PROXY_CORE))
        started[name] = (places["port"], pid)
    return started


def same_answers(proxies, origin, path):
    wanted = tools.get(f"http://127.0.0.1:{origin}{path}")
    for name, (port, _) in proxies.items():
        try:
            answer = tools.get(f"http://127.0.0.1:{port}{path}")
        except (OSError, http.client.HTTPException) as error:
            sys.exit(f"{name} does not answer {path}: {error}")
        if answer != wanted:
            sys.exit(f"{name} gives another answer to {path} than the origin")


def measure(port, pid, connections, seconds, path):
    """One run of wrk against one proxy: user and system CPU per request, requests a second, p99, errors."""
    before = tools.cpu_s(pid)
    load = [
        "taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
        f"http://127.0.0.1:{port}{path}",
    ]
    told = subprocess.run(load, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    after = tools.cpu_s(pid)
    requests, wall = re.search(r"(\d+) requests in ([\d.]+)(?=s)", told).groups()
    requests = int(requests)
    if requests == 0:
        sys.exit(f"wrk got no answer:\n{told}")
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", told).groups()
    errors = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", told))
    errors += sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", told))
    user, system = ((now - then) / requests * 1e6 for now, then in zip(after, before))
    return user, system, requests / float(wall), float(p99) * SECONDS[unit], errors


def table(connections, runs):
    """Prints medians; the ratio is that of our CPU to the best peer's in the same rounds."""
    totals = {}
    for name, results in runs.items():
        user, system, rate, p99, _ = (statistics.median(column) for column in zip(*results))
        totals[name] = statistics.median(result[0] + result[1] for result in results)
        errors = sum(result[4] for result in results)
        print(f"{connections:6d} {name:9s} {user:9.2f} {system:9.2f} {totals[name]:9.2f} {rate:10.0f} "
              f"{p99 * 1e3:9.2f} {errors:7d}")
    peers = {name: total for name, total in totals.items() if name != "tidegate"}
    if peers and "tidegate" in totals:
        best = min(peers, key=peers.get)
        print(f"       tidegate takes {totals['tidegate'] / peers[best]:.3f} of the CPU of {best}")


def arguments():
    parser = argparse.ArgumentParser(description="tidegate beside nginx and HAProxy")
    parser.add_argument("--connections", default="64,1000", help="numbers of connections, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--path", default="/", help="what to ask the origin for")
    parser.add_argument("--proxies", default="tidegate,nginx,haproxy", help="which, with commas")
    asked = parser.parse_args()
    unknown = set(asked.proxies.split(",")) - {"tidegate", "nginx", "haproxy"}
    if unknown:
        parser.error(f"there is no configuration for {', '.join(sorted(unknown))}")
    return asked


def main():
    asked = arguments()
    for tool in ("taskset", "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two cores are needed: one for the proxy, one for origin and load")
    tools.raise_descriptor_limit()
    origin = tools.free_port()
    backend = [tools.binary("tidegate-origin"), "--port", str(origin), "--message", "hello world 12"]
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(directory, 0o711)  # nginx' workers, of another user, have their temporary files there
        stack.enter_context(tools.running(backend, origin, core=LOAD_CORE))
        proxies = start(asked.proxies.split(","), directory, origin, stack)
        same_answers(proxies, origin, asked.path)
        print(f"{'conns':>6} {'proxy':9s} {'user us':>9} {'sys us':>9} {'CPU us':>9} {'requests/s':>10} "
              f"{'p99 ms':>9} {'errors':>7}")
        for connections in (int(number) for number in asked.connections.split(",")):
            runs = {name: [] for name in proxies}
            for _ in range(asked.rounds):
                for name in random.sample(list(proxies), len(proxies)):
                    runs[name].append(measure(*proxies[name], connections, asked.seconds, asked.path))
            table(connections, runs)


main()
