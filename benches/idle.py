#!/usr/bin/env python3
"""How much memory an idle keep-alive connection costs.

    cargo build --release && benches/idle.py [CONNECTIONS]        default: 3500

One core. Every connection asks once and then stays open, in batches, so that few requests are under way at a
time. What is told is the resident memory of tidegate (VmRSS), before and after; the memory the kernel spends
on sockets is not in it. Loopback only; ends by itself.
"""

import contextlib
import select
import socket
import sys
import time

import tools

BATCH = 50
REQUEST = b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n"


def ask_all(port, sockets, count):
    """`count` further connections, each answered once."""
    waiting = select.poll()
    answers = {}
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=tools.DEADLINE_S)
        one.sendall(REQUEST)
        sockets.append(one)
        answers[one.fileno()] = (one, b"")
        waiting.register(one, select.POLLIN)
    while answers:
        ready = waiting.poll(tools.DEADLINE_S * 1000)
        if not ready:
            sys.exit(f"{len(answers)} requests are not answered")
        for descriptor, _ in ready:
            one, octets = answers[descriptor]
            octets += one.recv(4096)
            if octets.endswith(b"hello"):
                waiting.unregister(descriptor)
                del answers[descriptor]
            else:
                answers[descriptor] = (one, octets)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3500
    limit = tools.raise_descriptor_limit()
    if limit < 2 * count + 100:
        sys.exit(f"{count} connections need more descriptors than the limit of {limit}")
    proxy, admin, origin = tools.free_port(), tools.free_port(), tools.free_port()
    backend = [tools.binary("tidegate-origin"), "--port", str(origin), "--message", "hello"]
    tidegate = [
        tools.binary("tidegate"), "--listen", f"127.0.0.1:{proxy}", "--upstream", f"http://127.0.0.1:{origin}",
        "--admin", f"127.0.0.1:{admin}", "--workers", "1", "--access-log", "off", "--log", "error",
        "--idle-timeout", "10m",
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(tools.running(backend, origin))
        pid = stack.enter_context(tools.running(tidegate, proxy))
        sockets = []
        stack.callback(lambda: [one.close() for one in sockets])
        # What the first requests need once and for all is not the connections' doing.
        ask_all(proxy, sockets, BATCH)
        tools.metrics(admin)
        warm = len(sockets)
        before = tools.resident_bytes(pid)
        started = time.monotonic()
        for start in range(0, count, BATCH):
            ask_all(proxy, sockets, min(BATCH, count - start))
        after = tools.resident_bytes(pid)
        open_now = tools.metrics(admin)["connections"]["current"]
        if open_now != warm + count:
            sys.exit(f"{open_now} connections are open, not {warm + count}")
        print(f"{count} idle connections after one request each, made in {time.monotonic() - started:.1f} s")
        print(f"resident  {before / 1024:.0f} KiB before, {after / 1024:.0f} KiB after")
        print(f"each      {(after - before) / count:.0f} B")


main()
