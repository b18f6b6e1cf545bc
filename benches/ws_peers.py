#!/usr/bin/env python3
"""WebSocket echo through tidegate, nginx and HAProxy: CPU per message, and memory per idle tunnel.

    cargo build --release && cargo build --release --example ws_echo
    benches/ws_peers.py [--sizes 64,65536] [--connections 100] [--rounds 3] [--seconds 3] [--idle 1000]

Linux, two cores: the proxy alone on core 0, load and origin on core 1. One thread for each proxy, the order by lot in
each round, medians over rounds. CPU is user plus system time of the proxy's processes by /proc. Proxies that are not
installed are left out. Compare within a run: machines differ, and so do their hours.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ORIGIN = 9711
PORTS = {"tidegate": 9721, "nginx": 9722, "haproxy": 9723}
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1; daemon off; pid {home}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3;
    uwsgi_temp_path {home}/4; scgi_temp_path {home}/5;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
            proxy_read_timeout 300s; proxy_send_timeout 300s;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 4000
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout tunnel 300s
    option splice-auto
frontend front
    bind 127.0.0.1:{port} backlog 4096
    default_backend back
backend back
    server origin 127.0.0.1:{origin}
"""


class Proxy:
    """One of the proxies on core 0."""

    def __init__(self, name, options, home):
        self.name, self.address = name, f"127.0.0.1:{PORTS[name]}"
        self.child = pinned(0, *self.command(options, home))
        wait_for(self.address)

    def command(self, options, home):
        if self.name == "tidegate":
            return [os.path.join(options.binaries, "tidegate"), "--listen", self.address, "--upstream",
                    f"127.0.0.1:{ORIGIN}", "--admin", "off", "--access-log", "off", "--workers", "1", "--log", "error"]
        text = {"nginx": NGINX, "haproxy": HAPROXY}[self.name]
        path = os.path.join(home, self.name)
        with open(path, "w") as file:
            file.write(text.format(home=home, port=PORTS[self.name], origin=ORIGIN))
        return ["nginx", "-c", path] if self.name == "nginx" else ["haproxy", "-db", "-f", path]

    def processes(self):
        """Its process and the children of that."""
        with open(f"/proc/{self.child.pid}/task/{self.child.pid}/children") as file:
            return [self.child.pid, *map(int, file.read().split())]

    def cpu_us(self):
        """User and system time so far."""
        sums = [0, 0]
        for pid in self.processes():
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            sums = [sums[0] + int(fields[11]), sums[1] + int(fields[12])]
        return [ticks * TICK_US for ticks in sums]

    def resident(self):
        """Octets of resident memory."""
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/status") as file:
                total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))
        return total


def pinned(core, *command, **options):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stderr=subprocess.DEVNULL,
                            stdout=options.pop("stdout", subprocess.DEVNULL), **options)


def wait_for(address):
    """Until somebody listens."""
    import socket
    host, port = address.split(":")
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"nobody listens on {address}")
        time.sleep(0.05)


def measure(echo, proxy, options, size):
    """User and system time per message, and messages per second."""
    before = proxy.cpu_us()
    command = ["taskset", "-c", "1", echo, "load", proxy.address, str(options.connections), str(size), str(options.seconds)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=options.seconds + 30).stdout)
    user, system = (now - then for now, then in zip(proxy.cpu_us(), before))
    return user / report["messages"], system / report["messages"], report["per_second"]


def echoes(echo, proxies, options):
    for size in options.sizes if options.rounds else []:
        seen = {proxy.name: [] for proxy in proxies}
        for _ in range(options.rounds):
            for proxy in random.sample(proxies, len(proxies)):
                seen[proxy.name].append(measure(echo, proxy, options, size))
        print(f"\necho of {size} octets, {options.connections} connections, microseconds of CPU per message")
        totals = {}
        for name, runs in seen.items():
            user, system, rate = (statistics.median(column) for column in zip(*runs))
            totals[name] = statistics.median(run[0] + run[1] for run in runs)
            print(f"  {name:9} user {user:7.2f}  system {system:7.2f}  total {totals[name]:8.2f}  {rate:9.0f}/s")
        ratios = [f"{totals['tidegate'] / total:.3f} of {name}" for name, total in totals.items()
                  if name != "tidegate" and "tidegate" in totals]
        print("  tidegate takes", ", ".join(ratios) or "what it takes: nobody to compare with")


def idle(echo, proxies, options):
    print(f"\n{options.idle} idle tunnels, octets of resident memory each")
    for proxy in proxies:
        # A first crowd, so that what is kept for good is there already.
        hold(echo, proxy, 10)
        before, after = hold(echo, proxy, options.idle)
        print(f"  {proxy.name:9} {(after - before) / options.idle:8.0f}")


def hold(echo, proxy, connections):
    """Resident memory before and while they are open."""
    before = proxy.resident()
    command = (echo, "hold", proxy.address, str(connections))
    child = pinned(1, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        line = child.stdout.readline()
        assert line.startswith(b"holding"), f"{proxy.name}: no {connections} tunnels"
        time.sleep(0.5)
        return before, proxy.resident()
    finally:
        child.stdin.close()
        child.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="64,65536", type=lambda text: [int(size) for size in text.split(",")])
    parser.add_argument("--connections", default=100, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=3, type=int)
    parser.add_argument("--idle", default=1000, type=int)
    parser.add_argument("--proxies", default="tidegate,nginx,haproxy", type=lambda text: text.split(","))
    parser.add_argument("--binaries", default="target/release")
    options = parser.parse_args()
    echo = os.path.join(options.binaries, "examples", "ws_echo")
    here = [name for name in options.proxies if name == "tidegate" or shutil.which(name)]
    children = []
    with tempfile.TemporaryDirectory() as home:
        try:
            children.append(pinned(1, echo, "origin", f"127.0.0.1:{ORIGIN}"))
            wait_for(f"127.0.0.1:{ORIGIN}")
            proxies = []
            for name in here:
                proxies.append(Proxy(name, options, home))
                children.append(proxies[-1].child)
            idle(echo, proxies, options)
            echoes(echo, proxies, options)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(10)


main()
