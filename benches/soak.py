#!/usr/bin/env python3
"""A long run of everything at once: what grows, what gets lost, what comes out wrong?

    cargo build --release && benches/soak.py [--minutes 30] [--rate 60] [--seed 1] [--under 'valgrind ...']

Small and large requests, uploads, WebSockets, slow and rude clients in an order that the seed makes; origins that fail
on demand, and are killed and started again; SIGUSR1 and SIGHUP all the time, SIGUSR2 (an upgrade) in the first fifth, so that
one process lives for the rest. Every answer's octets are checked. Memory, descriptors and buffers are looked at
every second. Exit code 1 after a wrong answer, when something grew from the second fifth to the last (descriptors: in
longer runs, for in short ones their number says nothing), or is not home in the end. Python's standard library only;
loopback only; about a tenth of a core for the proxy and it.
"""

import argparse
import asyncio
import base64
import collections
import contextlib
import hashlib
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import tools
from soak_origin import Origin, accept_key, body, content, frame, framed, head

# What an operation may come to besides its right answer, when an origin was killed meanwhile; or when the machine left
# us no time: for then our origins and clients were slow, and the proxy was right to end their patience.
TROUBLE = (502, 503, 504, 408)
GRACE_S = 3
LATE_S = 0.5
OP_S = 30
# Growth that is none: allocators and pools breathe.
MEMORY_SLACK = 2 * 1024 * 1024
DESCRIPTOR_SLACK = 16
# Samples of a fifth whose median says something of a number that goes up and down with the load.
SAMPLES = 30


class Wrong(Exception):
    """An answer that must not be."""


class Proxy:
    """tidegate and those that took over from it."""

    def __init__(self, origins, home, under):
        self.port, self.admin, self.home = tools.free_port(), tools.free_port(), pathlib.Path(home)
        upstreams = [word for one in origins for word in ("--upstream", f"http://127.0.0.1:{one.port}")]
        self.told = open(self.home / "told.log", "w+")
        self.child = subprocess.Popen(
            [*under.split(), tools.binary("tidegate"), *upstreams, "--listen", f"127.0.0.1:{self.port}",
             "--admin", f"127.0.0.1:{self.admin}", "--workers", "2", "--buffers", "256",
             "--read-timeout", "5s", "--write-timeout", "5s", "--response-timeout", "2s", "--idle-timeout", "10s",
             "--drain-timeout", "10s", "--access-log", "json", "--access-log-file", str(self.log)],
            cwd=home, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.told)
        if not tools.listens(self.port, self.child):
            sys.exit((self.home / "told.log").read_text())

    @property
    def log(self):
        return self.home / "access.log"

    @property
    def pid(self):
        """Whoever serves now."""
        heirs = re.findall(r"handed over to the new process.*pid=(\d+)", (self.home / "told.log").read_text())
        return int(heirs[-1]) if heirs else self.child.pid

    def signal(self, number):
        os.kill(self.pid, number)

    def sample(self):
        pid = self.pid
        return tools.resident_bytes(pid), len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    def __init__(self, options):
        self.options = options
        self.chance = random.Random(options.seed)
        self.counts, self.wrong = collections.Counter(), []
        self.origins, self.proxy = [Origin(), Origin()], None
        self.killed_at, self.late_at, self.kept, self.samples = -100.0, -100.0, [], []

    # Connections.

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.proxy.port, limit=1 << 20)

    async def ask(self, octets, method="GET", fresh=False):
        """Status, fields and body of the answer to one request, on a kept connection if there is one."""
        while True:
            kept = None if fresh or not self.kept else self.kept.pop()
            reader, writer = kept or await self.connect()
            try:
                writer.write(octets)
                await writer.drain()
                line, fields = await head(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                writer.transport.abort()
                # A kept connection may have been closed when the request was sent; any client tries again.
                if kept and not getattr(error, "partial", b""):
                    self.counts["(asked again)"] += 1
                    continue
                raise
            octets = b"" if method == "HEAD" else await content(reader, fields)
            if fields.get(b"connection") == b"close" or len(self.kept) > 20:
                writer.close()
            else:
                self.kept.append((reader, writer))
            return int(line.split()[1]), fields, octets

    def expect(self, what, got, wanted):
        if got != wanted:
            raise Wrong(f"{what}: got {got!r:.200}, wanted {wanted!r:.200}")

    async def checked(self, request, wanted, method="GET", fresh=False):
        status, fields, octets = await self.ask(request, method, fresh)
        self.expect("status", status, 200)
        if method == "HEAD":
            self.expect("length", fields[b"content-length"], b"%d" % len(wanted))
        else:
            self.expect("body", octets, wanted)

    def about(self, most):
        """A seed and a length for a body."""
        return self.chance.randrange(1 << 30), self.chance.randrange(most)

    # Operations: each raises Wrong, or an error of the connection.

    async def small(self):
        seed, length = self.about(2000)
        method = self.chance.choice(["GET", "GET", "GET", "HEAD"])
        request = f"{method} /body/{seed}/{length} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()
        await self.checked(request, body(seed, length), method, fresh=self.chance.random() < 0.2)

    async def chunks(self):
        seed, length = self.about(100_000)
        await self.checked(f"GET /chunks/{seed}/{length} HTTP/1.1\r\nHost: soak\r\n\r\n".encode(), body(seed, length))

    async def large(self):
        seed, length = self.about(2_000_000)
        await self.checked(f"GET /body/{seed}/{length} HTTP/1.1\r\nHost: soak\r\n\r\n".encode(), body(seed, length))

    async def late(self):
        seed, length = self.about(2000)
        wait = round(self.chance.random(), 2)
        request = f"GET /slow/{seed}/{length}/{wait} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()
        await self.checked(request, body(seed, length))

    async def upload(self):
        octets = body(*self.about(300_000))
        start = f"POST /digest HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(octets)}\r\n\r\n".encode()
        await self.checked(start + octets, hashlib.sha256(octets).hexdigest().encode())

    async def upload_chunks(self):
        octets = body(*self.about(100_000))
        parts = [octets[at:at + 777] for at in range(0, len(octets), 777)]
        framed_parts = b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts)
        start = b"POST /digest HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n"
        request = start + framed_parts + b"0\r\nX-Trailer: 1\r\n\r\n"
        await self.checked(request, hashlib.sha256(octets).hexdigest().encode())

    async def slow_upload(self):
        octets = body(*self.about(5000))
        reader, writer = await self.connect()
        try:
            writer.write(f"POST /digest HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(octets)}\r\n\r\n".encode())
            for at in range(0, len(octets), 500):
                writer.write(octets[at:at + 500])
                await writer.drain()
                await asyncio.sleep(self.chance.random())
            line, fields = await head(reader)
            self.expect("status", line.split()[1], b"200")
            self.expect("digest", await content(reader, fields), hashlib.sha256(octets).hexdigest().encode())
        finally:
            writer.transport.abort()

    async def slow_reader(self):
        seed, length = self.about(1_000_000)
        reader, writer = await self.connect()
        try:
            writer.write(f"GET /body/{seed}/{length} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
            line, _ = await head(reader)
            self.expect("status", line.split()[1], b"200")
            parts, left = [], length
            while left:
                parts.append(await reader.readexactly(min(left, 100_000)))
                left -= len(parts[-1])
                await asyncio.sleep(self.chance.random() / 2)
            self.expect("body", b"".join(parts), body(seed, length))
        finally:
            writer.transport.abort()

    async def socket(self):
        reader, writer = await self.connect()
        try:
            key = base64.b64encode(self.chance.randbytes(16))
            writer.write(b"GET /socket HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
            line, fields = await head(reader)
            self.expect("status", line.split()[1], b"101")
            self.expect("proof", fields.get(b"sec-websocket-accept"), accept_key(key))
            for _ in range(self.chance.randrange(1, 10)):
                message = body(*self.about(self.chance.choice([100, 60_000])))
                writer.write(framed(2, message, self.chance.randbytes(4)))
                got = await frame(reader)
                if got == (8, b"\x03\xe9"):
                    self.counts["(sockets told to go away)"] += 1
                    return
                self.expect("message", got, (2, message))
                await asyncio.sleep(self.chance.random())
            writer.write(framed(8, b"\x03\xe8", self.chance.randbytes(4)))
            self.expect("close", await frame(reader), (8, b"\x03\xe8"))
        finally:
            writer.transport.abort()

    async def fault(self):
        kind, status = self.chance.choice([("reset", 502), ("garbage", 502), ("close", 502), ("stall", 504)])
        got, _, _ = await self.ask(f"GET /{kind} HTTP/1.1\r\nHost: soak\r\n\r\n".encode(), fresh=True)
        self.expect(kind, got, status)

    async def cut(self):
        try:
            got = await self.ask(b"GET /cut HTTP/1.1\r\nHost: soak\r\n\r\n", fresh=True)
        except (OSError, asyncio.IncompleteReadError):
            return
        raise Wrong(f"an answer that was cut looks whole: {got!r:.200}")

    async def refused(self):
        bad, status = self.chance.choice([
            (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET /\x00 HTTP/1.1\r\nHost: soak\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: soak\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ])
        got, _, _ = await self.ask(bad, fresh=True)
        self.expect("refusal", got, status)

    async def rude(self):
        """Leaves somewhere on the way, with a reset."""
        reader, writer = await self.connect()
        octets = self.chance.choice([
            b"", b"GET /bo", b"GET /body/1/1000000 HTTP/1.1\r\nHost: soak\r\n\r\n",
            b"POST /digest HTTP/1.1\r\nHost: soak\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000,
            b"GET /slow/1/1/1 HTTP/1.1\r\nHost: soak\r\n\r\n",
        ])
        writer.write(octets)
        await asyncio.sleep(self.chance.random() / 2)
        writer.transport.abort()

    OPERATIONS = {
        small: 60, chunks: 6, large: 3, late: 4, upload: 5, upload_chunks: 3, slow_upload: 2, slow_reader: 2,
        socket: 4, fault: 3, cut: 1, refused: 3, rude: 5,
    }

    async def one(self, operation):
        """Does it, and judges how it ended."""
        started, name = time.monotonic(), operation.__name__
        try:
            async with asyncio.timeout(OP_S):
                await operation(self)
            self.counts[name] += 1
        except (Wrong, OSError, EOFError, TimeoutError) as error:
            trouble = max(self.killed_at, self.late_at) > started - GRACE_S
            excused = not isinstance(error, Wrong) or any(f"got {s}" in str(error) or f"got b'{s}" in str(error)
                                                          for s in TROUBLE)
            if trouble and excused and not isinstance(error, TimeoutError):
                late = self.late_at > started - GRACE_S
                self.counts["(hit by a busy machine)" if late else "(hit by a killed origin)"] += 1
            else:
                self.wrong.append(f"{name} after {time.monotonic() - started:.3f} s: {error!r:.300}")
                print("WRONG", self.wrong[-1], flush=True)

    # What goes on beside the operations.

    async def kill_origins(self):
        while True:
            await asyncio.sleep(self.chance.uniform(10, 30))
            origin = self.chance.choice(self.origins)
            self.killed_at = time.monotonic()
            origin.kill()
            await asyncio.sleep(self.chance.uniform(0, 2))
            await origin.start()
            self.killed_at = time.monotonic()
            self.counts["(origins killed)"] += 1

    async def send_signals(self, upgrades_until):
        while True:
            await asyncio.sleep(self.chance.uniform(10, 20))
            if time.monotonic() < upgrades_until:
                before = self.proxy.pid
                self.proxy.signal(signal.SIGUSR2)
                while self.proxy.pid == before:
                    await asyncio.sleep(0.1)
                self.counts["(upgrades)"] += 1
            with contextlib.suppress(FileNotFoundError):
                self.proxy.log.rename(self.proxy.log.with_suffix(".old"))
            self.proxy.signal(signal.SIGUSR1)
            self.proxy.signal(signal.SIGHUP)
            self.counts["(reopened logs)"] += 1

    async def watch_the_clock(self):
        while True:
            before = time.monotonic()
            await asyncio.sleep(LATE_S)
            if time.monotonic() - before > 2 * LATE_S:
                self.late_at = time.monotonic()
                self.counts["(the machine was busy)"] += 1

    async def take_samples(self):
        while True:
            self.samples.append(self.proxy.sample())
            await asyncio.sleep(1)

    async def run(self, home):
        for origin in self.origins:
            await origin.start()
        self.proxy = await asyncio.to_thread(Proxy, self.origins, home, self.options.under)
        _, at_first = await self.warm_up()
        started = time.monotonic()
        length = self.options.minutes * 60
        beside = [asyncio.create_task(task) for task in (
            self.kill_origins(), self.send_signals(started + length / 5), self.take_samples(), self.watch_the_clock())]
        names, weights = zip(*self.OPERATIONS.items())
        under_way, step = set(), 0
        while (now := time.monotonic()) < started + length:
            step += 1
            if len(under_way) < 500:
                task = asyncio.create_task(self.one(self.chance.choices(names, weights)[0]))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(max(0, started + step / self.options.rate - now))
        if under_way:
            await asyncio.wait(under_way)
        for task in beside:
            task.cancel()
        for task in beside:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return await self.judge(at_first)

    async def warm_up(self):
        """What a core opens when it is first asked, it may keep."""
        request = b"GET /body/1/1000000 HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n"
        await asyncio.gather(*(self.ask(request, fresh=True) for _ in range(20)))
        return await self.come_to_rest()

    async def come_to_rest(self):
        """The metrics once no request is under way, and the descriptors that are open then, but for idle upstream connections."""
        figures = {}
        for _ in range(150):
            figures = await asyncio.to_thread(tools.metrics, self.proxy.admin)
            if figures["active"] == 0 and figures["connections"]["current"] == 0:
                break
            await asyncio.sleep(0.1)
        _, open_now = self.proxy.sample()
        return figures, open_now - sum(one["idle"] for one in figures["upstreams"].values())

    async def judge(self, at_first):
        for _, writer in self.kept:
            writer.close()
        figures, at_rest = await self.come_to_rest()
        fifth = max(1, len(self.samples) // 5)
        second, last = self.samples[fifth:2 * fifth], self.samples[-fifth:]
        medians = [[statistics.median(one[i] for one in part) for part in (second, last)] for i in (0, 1)]
        last_pid = self.proxy.pid
        self.proxy.signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.proxy.child.wait, 30)
        for _ in range(300):
            if not pathlib.Path(f"/proc/{last_pid}").exists():
                break
            await asyncio.sleep(0.1)
        told = (self.proxy.home / "told.log").read_text()
        (memory, memory_last), (files, files_last) = medians
        own = [line for line in told.splitlines() if not line.startswith("==")]
        for line in told.splitlines():
            if re.search("SUMMARY|lost:|invalid", line):
                print(line)
        slack = MEMORY_SLACK * (50 if self.options.under else 1)
        rest = {name: figures[name] for name in ("active", "panics")}
        rest |= {"connections": figures["connections"]["current"], "buffers": figures["buffers"]["used"]}
        return [
            (f"wrong answers: {len(self.wrong)}", not self.wrong),
            (f"resident memory, median of the 2nd and the last fifth: {memory / 1024:.0f} and "
             f"{memory_last / 1024:.0f} KiB", memory_last <= memory + slack),
            (f"descriptors, likewise: {files:.0f} and {files_last:.0f}",
             files_last <= files + DESCRIPTOR_SLACK or fifth < SAMPLES),
            (f"descriptors at rest, but for idle upstream connections: {at_first} at first and {at_rest} in the end",
             at_rest <= at_first + DESCRIPTOR_SLACK),
            (f"left over: {rest}", not any(rest.values())),
            (f"exit code {code}, and the last process has ended", code == 0
             and not pathlib.Path(f"/proc/{last_pid}").exists()),
            ("nothing in its log about defects", not any(re.search("defect|panic", line) for line in own)),
        ]


def is_ours(pid):
    """Still runs, and is what we started."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe") == tools.binary("tidegate")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=60, help="operations a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--under", default="", help="a command to run the proxy under")
    soak = Soak(parser.parse_args())
    with tempfile.TemporaryDirectory() as home:
        try:
            verdicts = asyncio.run(soak.run(home))
        finally:
            if soak.proxy:
                soak.proxy.child.kill()
                if is_ours(soak.proxy.pid):
                    os.kill(soak.proxy.pid, signal.SIGKILL)
    print(f"{sum(v for k, v in soak.counts.items() if k[0] != '(')} operations, {len(soak.samples)} samples, "
          f"seed {soak.options.seed}")
    for name, count in sorted(soak.counts.items()):
        print(f"  {count:8}  {name}")
    for text, held in verdicts:
        print("ok  " if held else "FAIL", text)
    sys.exit(not all(held for _, held in verdicts))


if __name__ == "__main__":
    main()
