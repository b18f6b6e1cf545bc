"""Thousands of bad clients against the real binaries, and what a good one notices of it.

    tests/foreign/siege.py [DIRECTORY WITH tidegate AND tidegate-origin]     default: target/release

One core and default limits, as far as descriptors allow. slowhttptest in all its modes, if it is installed; then connections
that say nothing, slow heads, slow bodies and clients that do not read, more than there are shares of the buffers. In each siege
a good client goes on asking: the slowest 1 % and the slowest of its requests are told, and have a bound; so has the proxy's
memory, by the formula of the manual. Loopback only; about a minute.
"""

import http.client
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from clients import Process

KIB = 1024
MIB = 1024 * KIB
# What the manual promises: octets for the process, for each buffer and for each connection that is in a request.
BASE, BUFFER, CONNECTION = 14 * MIB, 16 * KIB, 28 * KIB
# A good client waits no longer; a second more where a stuck receiver has to give way first.
BOUND_S, PATIENCE_S = 1.0, 1.2
# An answer that the kernel does not swallow whole. A thousand of them would fill `net.ipv4.tcp_mem`, and then nobody on
# this machine is served well, so only a few clients do not read it, and the proxy has few buffers then.
LARGE, FEW_BUFFERS, FEW_READERS = 12_000_000, 64, 60

WORDS = {
    "silent": b"",
    "heads": b"GET / HTTP/1.1\r\nHost: t\r\nX: ",
    "bodies": b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n",
    "readers": b"GET /chunked/%d HTTP/1.1\r\nHost: t\r\n\r\n" % LARGE,
}


def crowd(port, kind, n):
    """A process of its own, for its own descriptors: `n` clients that stay until standard input ends."""
    sockets = []
    for _ in range(n):
        one = socket.socket()
        if kind == "readers":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        try:
            one.connect(("127.0.0.1", port))
        except OSError:
            break
        one.sendall(WORDS[kind])
        one.setblocking(False)
        sockets.append(one)
    print(len(sockets), flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.wait(1):
        for one in sockets if kind in ("heads", "bodies") else ():
            try:
                one.send(b"x")
            except OSError:
                pass


class Crowds:
    """Crowds while the block lasts."""

    def __init__(self, port, kind, *sizes):
        self.jobs = [[sys.executable, __file__, "crowd", str(port), kind, str(n)] for n in sizes]

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.children = [subprocess.Popen(job, **pipes) for job in self.jobs]
        return sum(int(child.stdout.readline()) for child in self.children)

    def __exit__(self, *_):
        for child in self.children:
            child.stdin.close()
        for child in self.children:
            child.wait(30)


class Proxy:
    def __init__(self, binaries, buffers=16_384):
        self.buffers = buffers
        self.origin = Process(os.path.join(binaries, "tidegate-origin"), "--port", "0", "--message", "fine")
        url = self.origin.find(r"listening on (http://\S+)")
        self.proxy = Process(
            os.path.join(binaries, "tidegate"), "--upstream", url, "--listen", "127.0.0.1:0",
            "--admin", "127.0.0.1:0", "--access-log", "off", "--workers", "1", "--buffers", str(buffers),
        )
        self.proxy.find(r"\bready\b")
        self.admin = "http://" + self.proxy.find(r"admin.*address=(\S+)")
        front = next(line for line in self.proxy.lines if "listening" in line and "admin" not in line)
        self.port = int(re.search(r"address=\S+:(\d+)", front).group(1))

    def metrics(self):
        with urllib.request.urlopen(self.admin + "/metrics?format=json", timeout=10) as answer:
            return json.load(answer)

    def memory(self, name):
        with open(f"/proc/{self.proxy.child.pid}/status") as status:
            return next(int(line.split()[1]) * KIB for line in status if line.startswith(name))

    def wait_until(self, holds):
        deadline = time.monotonic() + 20
        while not holds(self.metrics()):
            if time.monotonic() > deadline:
                m = self.metrics()
                raise AssertionError(f"not in time: {m['connections']}, {m['buffers']}, {m['active']} active")
            time.sleep(0.05)


def ask(connection):
    connection.request("GET", "/")
    answer = connection.getresponse()
    if (answer.status, answer.read()) != (200, b"fine"):
        raise AssertionError(f"a good client got {answer.status}")


def good(proxy, n=400):
    """Seconds: the slowest 1 % and the slowest of `n` requests, every other on a connection of its own."""
    kept, took = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10), []
    for turn in range(n):
        started = time.perf_counter()
        if turn % 2:
            ask(kept)
        else:
            fresh = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
            ask(fresh)
            fresh.close()
        took.append(time.perf_counter() - started)
    kept.close()
    took.sort()
    return took[n * 99 // 100], took[-1]


def tell(name, proxy, before, during, connections, bound):
    most = proxy.memory("VmHWM:")
    ceiling = BASE + proxy.buffers * BUFFER + connections * CONNECTION
    print(f"ok   {name}: p99 {before[0] * 1000:.2f} ms before, {during[0] * 1000:.2f} ms during, slowest "
          f"{during[1] * 1000:.1f} ms; memory now {proxy.memory('VmRSS:') / MIB:.1f} MiB, at most "
          f"{most / MIB:.1f} of {ceiling / MIB:.0f}", flush=True)
    assert during[1] < bound, f"a good client waited {during[1]:.3f} s"
    assert most < ceiling, f"{most} octets of memory, the ceiling is {ceiling}"


def settle(proxy):
    """Everything home, and a good client as fast as ever."""
    proxy.wait_until(lambda m: m["active"] == 0 and m["connections"]["current"] == 0)
    good(proxy, 4)  # the figures about buffers are those of the last request
    proxy.wait_until(lambda m: m["buffers"]["used"] == 0)
    assert proxy.metrics()["panics"] == 0
    assert good(proxy)[1] < BOUND_S


def by_crowd(proxy, kind, sizes, bound, all_stay=True):
    before = good(proxy)
    accepted = proxy.metrics()["connections"]["accepted"]
    with Crowds(proxy.port, kind, *sizes) as n:
        proxy.wait_until(lambda m: m["connections"]["accepted"] >= accepted + n)
        if all_stay:
            proxy.wait_until(lambda m: m["connections"]["current"] >= n)
        if kind == "bodies":
            proxy.wait_until(lambda m: m["active"] >= n)
        if kind == "readers":
            time.sleep(1)  # some of them get stuck; the others wait
        during = good(proxy)
        tell(f"{n} {kind}", proxy, before, during, n, bound)
    settle(proxy)


def by_slowhttptest(proxy, mode, *flags):
    before = good(proxy)
    url = f"http://127.0.0.1:{proxy.port}/{'bytes/100000' if mode == '-X' else ''}"
    command = ["slowhttptest", mode, "-c", "1000", "-r", "1000", "-l", "6", "-v", "1", "-u", url, *flags]
    attack = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(2.5)  # it connects a thousand times in the first second
        during = good(proxy)
        told, _ = attack.communicate(timeout=30)
    finally:
        attack.kill()
    available = re.findall(r"service available:\D*(YES|NO)", told)
    tell(f"slowhttptest {mode}", proxy, before, during, 1000, BOUND_S)
    assert "NO" not in available[-1:], told[-2000:]
    settle(proxy)


def besieged(binaries, buffers, sieges):
    """Runs `sieges` against a proxy of their own."""
    proxy = Proxy(binaries, buffers)
    try:
        sieges(proxy)
    except BaseException:
        print("--- log of the proxy ---", *proxy.proxy.lines[-40:], "---", sep="\n", flush=True)
        raise
    finally:
        proxy.proxy.kill()
        proxy.origin.kill()


def thousands(proxy):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if shutil.which("slowhttptest"):
        by_slowhttptest(proxy, "-H", "-i", "1")
        by_slowhttptest(proxy, "-B", "-i", "1", "-s", "100000")
        by_slowhttptest(proxy, "-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32")
        by_slowhttptest(proxy, "-R", "-t", "HEAD")
    else:
        print("slowhttptest is not installed: its modes were not run")
    # The proxy has no more descriptors than each of us, and half of them are for clients.
    most = min(hard // 2 - 100, 19_900)
    by_crowd(proxy, "silent", [most // 2, most // 2], BOUND_S)
    # Twice as many: those that come later take the places of those that came first.
    by_crowd(proxy, "silent", [most, most], BOUND_S, all_stay=False)
    by_crowd(proxy, "heads", [min(6000, hard // 3)], BOUND_S)
    by_crowd(proxy, "bodies", [min(6000, hard // 3)], BOUND_S)


def main():
    binaries = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release")
    besieged(binaries, 16_384, thousands)
    besieged(binaries, FEW_BUFFERS, lambda proxy: by_crowd(proxy, "readers", [FEW_READERS], BOUND_S + PATIENCE_S))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if sys.argv[1:2] == ["crowd"]:
        crowd(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
