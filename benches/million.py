#!/usr/bin/env python3
"""A million requests through two origins: nothing may be lost, mixed up or left behind.

    cargo build --release && benches/million.py [REQUESTS]        default: 1000000

wrk asks over 64 kept connections, several seconds at a time, until there were as many requests as wanted; a script
in it (million.lua) checks status and body of every answer. Then the proxy's own figures must agree: every request
ended as `done`, each origin was asked equally often within 1 %, no buffer is in use, nothing panicked. Exit code 1
if anything is not so. Needs wrk; loopback only; ends by itself after 10 minutes at most.
"""

import contextlib
import pathlib
import re
import subprocess
import sys
import time

import tools

SCRIPT = pathlib.Path(__file__).resolve().parent / "million.lua"
BURST_S = 5
LONGEST_S = 600
QUIET_S = 10


def burst(port):
    """Some seconds of load; how many answers there were of each kind."""
    load = ["wrk", "-t2", "-c64", f"-d{BURST_S}s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/"]
    told = subprocess.run(load, capture_output=True, text=True, timeout=BURST_S + 60, check=True).stdout
    counts = dict(re.findall(r"(\w+)=(\d+)", told[told.index("checked ") :]))
    return {name: int(count) for name, count in counts.items()}


def at_rest(admin):
    """The figures once no request is under way; wrk leaves some behind when it stops."""
    deadline = time.monotonic() + QUIET_S
    while time.monotonic() < deadline:
        figures = tools.metrics(admin)
        if figures["active"] == 0 and figures["connections"]["current"] == 0:
            break
        time.sleep(0.05)
    return figures


def judge(checked, figures):
    """Everything that must hold, and whether it does."""
    first, second = (one["requests"] for one in figures["upstreams"].values())
    reasons = {name: count for name, count in figures["reasons"].items() if count}
    # wrk closes with requests under way: those clients are gone, and nobody else.
    left = reasons.get("client_gone", 0) + reasons.get("client_reset", 0)
    answered = checked["first"] + checked["second"]
    return [
        (f"every answer was right: {answered} checked, {checked['wrong']} wrong", checked["wrong"] == 0),
        (f"no connection broke: {checked['broken']}", checked["broken"] == 0),
        (f"all ended as done, but {left} that wrk left behind: {reasons}",
         reasons.get("done", 0) + left == figures["requests"] and reasons.get("done", 0) >= answered),
        (f"both origins were asked equally often: {first} and {second}",
         abs(first - second) <= 0.01 * max(first, second)),
        (f"buffers in use: {figures['buffers']['used']}", figures["buffers"]["used"] == 0),
        (f"panics: {figures['panics']}", figures["panics"] == 0),
    ]


def main():
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    tools.raise_descriptor_limit()
    proxy, admin, *origins = (tools.free_port() for _ in range(4))
    tidegate = [
        tools.binary("tidegate"), "--listen", f"127.0.0.1:{proxy}", "--admin", f"127.0.0.1:{admin}",
        "--access-log", "off", "--log", "error",
    ]
    with contextlib.ExitStack() as stack:
        for number, port in enumerate(origins, 1):
            message = f"Response from server {number}"
            origin = [tools.binary("tidegate-origin"), "--port", str(port), "--message", message]
            stack.enter_context(tools.running(origin, port))
            tidegate += ["--upstream", f"http://127.0.0.1:{port}"]
        stack.enter_context(tools.running(tidegate, proxy))
        checked = {"first": 0, "second": 0, "wrong": 0, "broken": 0}
        started = time.monotonic()
        while checked["first"] + checked["second"] < wanted and time.monotonic() - started < LONGEST_S:
            for name, count in burst(proxy).items():
                checked[name] += count
        verdicts = judge(checked, at_rest(admin))
    verdicts.insert(0, (f"at least {wanted} requests, in {time.monotonic() - started:.0f} s",
                        checked["first"] + checked["second"] >= wanted))
    for text, holds in verdicts:
        print("ok    " if holds else "FAILED", text)
    return 0 if all(holds for _, holds in verdicts) else 1


sys.exit(main())
