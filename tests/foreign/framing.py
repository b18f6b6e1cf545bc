"""A second and a third opinion on framing: all request vectors and thousands of seeded mutations go through the
real binary to an origin that records every octet, and h11 and llhttp (httptools) must agree about each request that
arrives: one, with the same method, target, fields, body and trailers, and nothing behind it.

    framing.py DIRECTORY [MUTATIONS [SEED]]
"""

import os
import random
import re
import socket
import sys
import threading
import time

import h11
import httptools

from clients import DEADLINE_S, Process, same

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LARGEST_BODY = 100_000
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"


# ---- the vectors ----

def octets(text):
    """A block of a vector: see tests/vectors/README.md."""
    def one(match):
        escape = match.group(0)[1:]
        if escape.startswith("{"):
            inside, count = escape[1:-1].rsplit("*", 1)
            return octets(inside).decode("latin-1") * int(count)
        named = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
        return named.get(escape) or chr(int(escape[1:], 16))
    # Text beyond ASCII stands for its UTF-8.
    plain = text.encode().decode("latin-1")
    return re.sub(r"\\(?:\{[^}]*\}|x..|.)", one, plain, flags=re.DOTALL).encode("latin-1")


def vectors():
    """Title, octets and the first line of the outcome of every request vector."""
    folder = os.path.join(ROOT, "tests", "vectors")
    block = re.compile(r"^### ([^\n]*)\n\n```http request(| and body)\n(.*?)^```\n```outcome\n([^\n]*)\n", re.M | re.S)
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        for title, with_body, lines, outcome in block.findall(text):
            sent = octets(lines.replace("\n", ""))
            length = re.search(r", body of (\d+),", outcome)
            if not with_body and length and int(length.group(1)) <= LARGEST_BODY:
                sent += b"x" * int(length.group(1))
            elif not with_body and ", chunked body," in outcome:
                sent += CHUNKS
            yield f"{name}: {title}", sent, outcome


SPICES = [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"+", b"\x0b", b"_", b"\x80", b"chunked",
          b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Host: b\r\n", b"\r\n\r\n",
          b"Connection: close\r\n", b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n", b"Expect: 100-continue\r\n"]


def mutated(sent, chance):
    """One to three small changes that those who obfuscate like."""
    sent = bytearray(sent)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(sent))
        kind = chance.randrange(5)
        if kind == 0:
            del sent[at:at + 1]
        elif kind == 1:
            sent[at:at + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            sent[at:at] = sent[max(0, at - chance.randint(1, 64)):at]
        else:
            sent[at:at] = chance.choice(SPICES)
    return bytes(sent)


# ---- the opinions ----

class Llhttp:
    """What llhttp calls out."""

    def __init__(self):
        self.target, self.fields, self.body, self.trailers = b"", [], b"", []
        self.begun, self.ended, self.in_body = 0, 0, False

    def on_message_begin(self):
        self.begun += 1

    def on_url(self, part):
        self.target += part

    def on_header(self, name, value):
        (self.trailers if self.in_body else self.fields).append((name.lower(), value))

    def on_headers_complete(self):
        self.in_body = True

    def on_body(self, part):
        self.body += part

    def on_message_complete(self):
        self.ended += 1


METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"}


def of_llhttp(raw):
    heard = Llhttp()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade as upgrade:
        same(upgrade.args[0], len(raw), "where the other protocol would begin")
    same((heard.begun, heard.ended), (1, 1), f"messages for llhttp in {raw[:2000]!r}")
    return parser.get_method(), heard.target, heard.fields, heard.body, heard.trailers


class Origin:
    """Reads requests with h11 and answers them; keeps each with its octets, and every complaint."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.requests, self.complaints, self.changed = [], [], threading.Condition()
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        peer.settimeout(DEADLINE_S)
        try:
            with peer:
                self.talk(peer)
        except (OSError, TimeoutError):
            pass
        except h11.RemoteProtocolError as error:
            with self.changed:
                self.complaints.append(str(error))

    def talk(self, peer):
        reader, raw = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17), b""
        request, body = None, b""
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                part = peer.recv(1 << 16)
                if not part:
                    return self.end(raw)
                raw += part
                reader.receive_data(part)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                behind = bytes(reader.trailing_data[0])
                said = (bytes(request.method), bytes(request.target), pairs(request.headers), body, pairs(event.headers))
                with self.changed:
                    self.requests.append((raw[:len(raw) - len(behind)], said))
                    if behind:
                        self.complaints.append(f"{behind!r} behind {raw!r}")
                answer = reader.send(h11.Response(status_code=204, headers=[])) + reader.send(h11.EndOfMessage())
                peer.sendall(answer)
                raw, request, body = b"", None, b""
                reader.start_next_cycle()
            else:
                return self.end(raw)

    def end(self, raw):
        """The stream ended; in the middle of a request that is no complaint, if no reader takes it for a whole one."""
        if not raw:
            return
        heard = Llhttp()
        try:
            httptools.HttpRequestParser(heard).feed_data(raw)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass
        if heard.ended:
            with self.changed:
                self.complaints.append(f"whole for llhttp, not for h11: {raw!r}")


def pairs(headers):
    return [(bytes(name), bytes(value)) for name, value in headers]


# ---- the run ----

def ask(address, sent):
    """Sends all of it, and gives all that comes back."""
    host, port = address.rsplit(":", 1)
    came = b""
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 16):
                came += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return came


def identities(answers):
    """The request ids of the answers that the origin gave."""
    return re.findall(rb"HTTP/1\.1 204 [^\r]*\r\n(?:[^\r]+\r\n)*?X-Request-Id: ([^\r]+)\r\n", answers)


def main():
    binaries, count = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 9112
    origin, chance, started = Origin(), random.Random(seed), time.monotonic()
    # Who has finished sending still gets an answer: so no case has to be waited for.
    proxy = Process(os.path.join(binaries, "tidegate"), "--upstream", f"http://{origin.address}", "--workers", "1",
                    "--listen", "127.0.0.1:0", "--admin", "off", "--access-log", "off", "--half-close")
    proxy.find(r"\bready\b")
    address = proxy.find(r"listening address=(\S+)")
    try:
        cases = list(vectors())
        good = [sent for _, sent, outcome in cases if " at " in outcome and len(sent) < 4000]
        answered = []
        for title, sent, outcome in cases:
            answers = identities(ask(address, sent))
            answered += answers
            if outcome.startswith("refused"):
                same(answers, [], title)
        for _ in range(count):
            answered += identities(ask(address, mutated(chance.choice(good), chance)))
        same(proxy.stop(), 0, "the exit code")
        with origin.changed:
            same(origin.complaints, [], "complaints of the origin")
            requests = list(origin.requests)
        known = [value for _, said in requests for name, value in said[2] if name == b"x-request-id"]
        same(sorted(answered), sorted(known), "one answer for each request")
        compared = 0
        for raw, said in requests:
            # Of other methods llhttp knows only its own list.
            if said[0] in METHODS:
                same(of_llhttp(raw), said, f"llhttp and h11 about {raw[:2000]!r}")
                compared += 1
    except BaseException:
        print("--- log of the proxy ---", *proxy.lines[-40:], "---", sep="\n", flush=True)
        raise
    finally:
        proxy.kill()
    print(f"ok   {time.monotonic() - started:6.2f} s  h11 and llhttp agree about all of {compared} requests that left for "
          f"{len(cases)} vectors and {count} mutations; h11 alone about {len(requests) - compared}")


if __name__ == "__main__":
    main()
