#!/usr/bin/env python3
"""What upstream care costs, and what it is worth: one upstream killed, one that hangs, all that answer 503, and the price.

    cargo build --release && benches/care.py [kill hang storm share price] [--seconds 60]

kill   kill -9 of one of two upstreams under 20,000 requests a second, and its return: errors that clients see, and how
       often the dead one is tried.
hang   SIGSTOP of one of two, with checks every second: slow requests, and POST requests that arrived twice.
storm  all upstreams answer 503 and retry-on names it: requests that arrive for each that was made.
share  1,000,000 requests over upstreams of weights 1, 2 and 5, with two workers.
price  CPU time of a small GET with checks, a breaker and least-requests, against the same without; rounds alternate.

Exit code 1 when a figure misses what was promised. The proxy has core 0, all else core 1. Loopback only.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import tools

RATE = 20_000
OPEN_S = 10
REQUESTS = 20_000


def origin(stack, port=None):
    """An origin on `port`, or any; its port and process id."""
    port = port or tools.free_port()
    command = [tools.binary("tidegate-origin"), "--listen", f"127.0.0.1:{port}"]
    return port, stack.enter_context(tools.running(command, port, core=1))


def proxy(stack, upstreams, *flags, workers=1):
    """A proxy before these; its port, the port of its admin, and its process id."""
    port, admin = tools.free_port(), tools.free_port()
    command = [tools.binary("tidegate"), "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}",
               "--access-log", "off", "--log", "error", "--workers", str(workers)]
    for upstream in upstreams:
        command += ["--upstream", upstream if ":" in str(upstream) else f"http://127.0.0.1:{upstream}"]
    pid = stack.enter_context(tools.running(command + list(flags), port, core=0))
    return port, admin, pid


def load(*flags):
    command = ["taskset", "-c", "1", tools.binary("tidegate-load"), "--json", *map(str, flags)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def report(child):
    return json.loads(child.communicate()[0])


def upstreams(admin):
    page = json.loads(tools.get(f"http://127.0.0.1:{admin}/metrics?format=json"))
    return page["upstreams"]


def cpu_ns(pid):
    return sum(int(task.joinpath("schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def errors(page):
    return sum(page["errors"].values())


def kill(args):
    with contextlib.ExitStack() as stack:
        (one, victim), (two, _) = origin(stack), origin(stack)
        port, admin, _ = proxy(stack, [one, two], "--breaker", "--breaker-open", f"{OPEN_S}s")
        asking = load("--rps", RATE, "-c", 64, "--duration", f"{args.seconds}s", f"http://127.0.0.1:{port}/")
        time.sleep(args.seconds * 0.2)
        os.kill(victim, signal.SIGKILL)
        time.sleep(1)
        before = upstreams(admin)[f"http://127.0.0.1:{one}"]
        dead_s = max(2.5 * OPEN_S, args.seconds * 0.5)
        time.sleep(dead_s)
        after = upstreams(admin)[f"http://127.0.0.1:{one}"]
        origin(stack, one)
        page = report(asking)
        end = upstreams(admin)[f"http://127.0.0.1:{one}"]
        tries = after["connect_failures"] - before["connect_failures"]
        most = dead_s / OPEN_S + 1
        back = end["requests"] - after["requests"]
        print(f"kill: {page['requests']} requests, {errors(page)} errors; {before['failures']} failures until the breaker"
              f" spoke, then {tries} tries in {dead_s:.0f} s (open {OPEN_S} s); {back} requests after its return")
        return errors(page) == 0 and tries <= most and back > 0


def hang(args):
    with contextlib.ExitStack() as stack:
        (one, victim), (two, _) = origin(stack), origin(stack)
        port, admin, _ = proxy(stack, [one, two], "--health-path", "/health", "--health-interval", "1s",
                               "--health-timeout", "1s", "--response-timeout", "30s", "--retry-on", "timeout",
                               "--try-timeout", "1s")
        gets = load("--rps", 2000, "-c", 256, "--duration", "15s", "--timeout", "40s", f"http://127.0.0.1:{port}/")
        posts = load("--rps", 20, "-c", 20, "--duration", "15s", "--timeout", "40s", "--body", "x",
                     f"http://127.0.0.1:{port}/echo-body")
        time.sleep(3)
        os.kill(victim, signal.SIGSTOP)
        begin = time.monotonic()
        while state(admin, one) != "down" and time.monotonic() < begin + 30:
            time.sleep(0.05)
        down_s = time.monotonic() - begin
        time.sleep(3)
        os.kill(victim, signal.SIGCONT)
        pages = [report(one) for one in (gets, posts)]
        whoami = [json.loads(tools.get(f"http://127.0.0.1:{one}/whoami")) for one in (one, two)]
        print(f"hang: down after {down_s:.1f} s (3 checks of 1 s, timeout 1 s); GET {errors(pages[0])} errors, slowest"
              f" {slowest(pages[0]):.2f} s; POST {pages[1]['requests']}, {errors(pages[1])} errors, slowest {slowest(pages[1]):.2f} s;"
              f" seen by origins {[page['requests'] for page in whoami]}")
        return errors(pages[0]) == 0 and down_s <= 3 * 2 + 1


def slowest(page):
    return page["latency_us"]["max"] / 1e6


def state(admin, port):
    page = json.loads(tools.get(f"http://127.0.0.1:{admin}/status"))
    return next(one["state"] for one in page["upstreams"] if one["url"].endswith(f":{port}"))


def storm(args):
    with contextlib.ExitStack() as stack:
        ports = [origin(stack)[0] for _ in range(3)]
        port, admin, _ = proxy(stack, ports, "--retry-on", "503", "--max-retries", "2")
        page = report(load("-c", 64, "--duration", f"{args.seconds}s", "--expect-status", 503,
                           f"http://127.0.0.1:{port}/status/503"))
        metrics = json.loads(tools.get(f"http://127.0.0.1:{admin}/metrics?format=json"))
        arrived = sum(one["requests"] for one in metrics["upstreams"].values())
        made = metrics["requests"]  # the load counts none of those that were under way when its time was over
        print(f"storm: {made} requests in {args.seconds} s, {arrived} arrived: {arrived / made:.5f} each;"
              f" {metrics['retries']} retries, {metrics['replays']} replays")
        return errors(page) == 0 and arrived <= 1.2 * made


def share(_args):
    with contextlib.ExitStack() as stack:
        weights = [1, 2, 5]
        ports = [origin(stack)[0] for _ in weights]
        asked = [f"http://127.0.0.1:{port} weight={weight}" for port, weight in zip(ports, weights)]
        port, admin, _ = proxy(stack, asked, workers=2)
        report(load("-c", 64, "--requests", 1_000_000, f"http://127.0.0.1:{port}/"))
        counts = [upstreams(admin)[f"http://127.0.0.1:{port}"]["requests"] for port in ports]
        fair = [sum(counts) * weight / sum(weights) for weight in weights]
        off = max(abs(count / fair - 1) for count, fair in zip(counts, fair))
        print(f"share: {counts} for weights {weights}, {off:.6f} off at most")
        return off <= 0.005


def price(args):
    cared = ["--health-path", "/health", "--breaker", "--balance", "least-requests"]
    with contextlib.ExitStack() as stack:
        ports = [origin(stack)[0] for _ in range(2)]
        proxies = {name: proxy(stack, ports, *flags) for name, flags in (("plain", []), ("cared", cared))}
        taken = {name: [] for name in proxies}
        end = time.monotonic() + args.seconds
        while time.monotonic() < end:
            for name, (port, _, pid) in list(proxies.items()):
                before = cpu_ns(pid)
                report(load("-c", 64, "--requests", REQUESTS, f"http://127.0.0.1:{port}/"))
                taken[name].append((cpu_ns(pid) - before) / 1e3 / REQUESTS)
            proxies = dict(reversed(list(proxies.items())))
        ratio = statistics.median(cared / plain for cared, plain in zip(taken["cared"], taken["plain"]))
        print(f"price: {statistics.median(taken['cared']):.2f} us a request against {statistics.median(taken['plain']):.2f},"
              f" {ratio:.3f} (median of {len(taken['plain'])} rounds)")
        return ratio <= 1.03


def main():
    trials = {function.__name__: function for function in (kill, hang, storm, share, price)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", choices=[[], *trials], default=list(trials))
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    tools.raise_descriptor_limit()
    os.sched_setaffinity(0, {1})
    missed = [name for name in args.trials if not trials[name](args)]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
