#!/usr/bin/env python3
"""Reload after reload under load: is a request lost, a WebSocket closed, does anything grow or wait?

    cargo build --release && benches/storm.py [--minutes 10] [--reloads 50] [--rate 10000] [--websockets 1000]

Requests are due at fixed moments (open loop), and WebSockets echo a message every few seconds, while the file is written
anew and reloaded so many times a minute: other routes, pools, upstreams, weights and rules each time. A minute without a
reload before and one behind show what the machine does by itself. Exit code 1 after a failed request or message, a
reload that was refused, or growth. The proxy has core 0, all else core 1. Loopback only.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import tools
from soak_origin import Origin

# Growth that is none: allocators and pools breathe.
MEMORY_SLACK = 2 * 1024 * 1024
DESCRIPTOR_SLACK = 16
# Octets between two WebSocket messages would say little: each has one every so many seconds.
MESSAGE_EVERY_S = 5


def settings(dice, listen, admin, origins, echo):
    """A file with the routes that are asked for somewhere among others, and other pools and upstreams each time."""
    url = [f"http://127.0.0.1:{port}" for port in origins]
    text = [f"listen = '127.0.0.1:{listen}'", f"admin = '127.0.0.1:{admin}'", "access-log = 'off'", "workers = 1"]
    text += ["[pool.echo]", f"upstream = 'http://127.0.0.1:{echo}'"]
    pools = dice.randint(1, 40)
    for number in range(pools):
        some = dice.sample(url, dice.randint(1, len(url)))
        upstreams = ", ".join(f"'{one} weight={dice.randint(1, 5)}'" for one in some)
        text += [f"[pool.p{number}]", f"upstream = [{upstreams}]", f"max-retries = {dice.randint(0, 3)}"]
    routes = [f"path = '/other-{dice.randint(0, 10_000)}/*'\nrespond = 'other'" for _ in range(dice.randint(0, 300))]
    pool = f"p{dice.randrange(pools)}"
    shared = f"{{ {pool} = {dice.randint(1, 9)}, p{dice.randrange(pools)} = 1 }}" if dice.random() < 0.3 else f"'{pool}'"
    if shared.count(pool) > 1:
        shared = f"'{pool}'"
    rules = "response-header = { set = { X-Storm = '{route}' } }" if dice.random() < 0.5 else ""
    asked = f"host = '127.0.0.1'\npath = '/'\npool = {shared}\n{rules}"
    for one in (asked, "path = '/socket'\npool = 'echo'"):
        routes.insert(dice.randint(0, len(routes)), one)
    return "\n".join(text + [f"[[route]]\n{route}" for route in routes]) + "\n"


def echoing():
    """Starts an origin that echoes WebSocket messages, in a thread; its port."""
    origin, loop = Origin(), asyncio.new_event_loop()
    loop.run_until_complete(origin.start())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return origin.port


def reload(admin):
    request = urllib.request.Request(
        f"http://127.0.0.1:{admin}/reload", data=b"{}", headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=tools.DEADLINE_S) as answer:
        return json.loads(answer.read())


def load(*flags):
    command = ["taskset", "-c", "1", tools.binary("tidegate-load"), "--json", *map(str, flags)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def minute(args, port, change):
    """A minute of requests; `change`, if there is one, is made so many times meanwhile. The report of the load."""
    asking = load("--rps", args.rate, "-c", 64, "--duration", "60s", f"http://127.0.0.1:{port}/")
    begin, made = time.monotonic(), 0
    while asking.poll() is None:
        if change and made < args.reloads and time.monotonic() - begin >= made * 60 / args.reloads:
            change()
            made += 1
        time.sleep(0.01)
    return json.loads(asking.stdout.read())


def look(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0]) * 1024
    return memory, len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in [("minutes", 10), ("reloads", 50), ("rate", 10_000), ("websockets", 1000), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    tools.raise_descriptor_limit()
    dice = random.Random(args.seed)
    os.sched_setaffinity(0, {1})
    listen, admin, *origins = [tools.free_port() for _ in range(5)]
    echo = echoing()
    faults, took = [], []
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
        file = pathlib.Path(home, "storm.toml")
        file.write_text(settings(dice, listen, admin, origins, echo))
        for port in origins:
            stack.enter_context(tools.running(
                [tools.binary("tidegate-origin"), "--listen", f"127.0.0.1:{port}"], port, core=1))
        pid = stack.enter_context(tools.running([tools.binary("tidegate"), "--config", str(file)], listen, core=0))

        def change():
            file.write_text(settings(dice, listen, admin, origins, echo))
            begin = time.monotonic()
            try:
                reload(admin)
            except OSError as error:
                faults.append(f"a reload: {error}")
            took.append(time.monotonic() - begin)

        whole = 60 * (args.minutes + 2)
        talking = load("--ws", "--rps", args.websockets / MESSAGE_EVERY_S, "-c", args.websockets,
                       "--duration", f"{whole}s", f"http://127.0.0.1:{listen}/socket")
        figures = []
        for number in range(args.minutes + 2):
            stormy = 0 < number <= args.minutes
            report = minute(args, listen, change if stormy else None)
            memory, descriptors = look(pid)
            latency = report["latency_us"]
            figures.append((stormy, memory, descriptors, latency))
            print(f"minute {number:2} {'reloads' if stormy else 'quiet  '}: {report['ok']} ok, errors {report['errors']}, "
                  f"p50 {latency['p50']} p99.9 {latency['p99_9']} p99.99 {latency['p99_99']} max {latency['max']} us, "
                  f"{memory // 1024} KiB, {descriptors} descriptors", flush=True)
            if report["errors"] or report["unsent"]:
                faults.append(f"minute {number}: {report['errors']}, unsent {report['unsent']}")
        words = json.loads(talking.communicate()[0])
    print(f"WebSockets: {words['ok']} messages, errors {words['errors']}, reconnects {words['reconnects']}")
    if words["errors"] or words["reconnects"]:
        faults.append(f"WebSockets: {words['errors']}, reconnects {words['reconnects']}")
    took.sort()
    print(f"{len(took)} reloads, median {took[len(took) // 2] * 1e3:.1f} ms, longest {took[-1] * 1e3:.1f} ms")
    storm = [figure for figure in figures if figure[0]]
    first, last = storm[min(1, len(storm) - 1)], storm[-1]
    if last[1] > first[1] + MEMORY_SLACK or last[2] > first[2] + DESCRIPTOR_SLACK:
        faults.append(f"grown from {first[1:3]} to {last[1:3]}")
    for fault in faults:
        print(f"WRONG: {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
