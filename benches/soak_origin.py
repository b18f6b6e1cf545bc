"""Origins for the soak, inside its own event loop: they answer by a rule that the clients know, and can be made to fail."""

import asyncio
import base64
import contextlib
import hashlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DAY_S = 86_400


def body(seed, length):
    """Octets that seed and length determine."""
    block = hashlib.sha256(f"{seed}/{length}".encode()).digest()
    return (block * (length // len(block) + 1))[:length]


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


async def head(reader):
    """Start line and fields of a message; names in lower case."""
    raw = await reader.readuntil(b"\r\n\r\n")
    line, *lines = raw[:-4].split(b"\r\n")
    fields = {}
    for one in lines:
        name, _, value = one.partition(b":")
        fields[name.lower()] = value.strip()
    return line, fields


async def content(reader, fields):
    """A body framed as its fields say."""
    if fields.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(fields.get(b"content-length", b"0")))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readline() != b"\r\n":
        pass  # a trailer
    return b"".join(parts)


async def frame(reader):
    """Opcode and payload of a WebSocket frame, unmasked."""
    first, second = await reader.readexactly(2)
    length = second & 127
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & 128 else bytes(4)
    payload = await reader.readexactly(length)
    mask = (mask * (length // 4 + 1))[:length]
    return first & 15, (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")


def framed(opcode, payload, mask=None):
    """A WebSocket frame."""
    length, bit = len(payload), 128 if mask else 0
    start = bytes([128 | opcode, bit | length]) if length < 126 else (
        bytes([128 | opcode, bit | 126]) + length.to_bytes(2, "big"))
    if not mask:
        return start + payload
    repeated = (mask * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
    return start + mask + masked


class Origin:
    """An origin on a port of its own that can be killed and started again."""

    def __init__(self):
        self.server, self.port, self.writers, self.requests = None, 0, set(), 0

    async def start(self):
        self.server = await asyncio.start_server(self.connection, "127.0.0.1", self.port, reuse_address=True)
        self.port = self.server.sockets[0].getsockname()[1]

    def kill(self):
        """Stops listening and resets every connection."""
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def connection(self, reader, writer):
        self.writers.add(writer)
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            while await self.request(reader, writer):
                await writer.drain()
            await writer.drain()
            writer.close()
        self.writers.discard(writer)
        writer.transport.abort() if writer.transport.is_closing() is False else None

    async def request(self, reader, writer):
        """Serves one request; whether another may follow."""
        line, fields = await head(reader)
        self.requests += 1
        method, target, _ = line.split(b" ")
        kind, *rest = target.decode().strip("/").split("/")
        if kind == "body":
            return self.send(writer, method, body(rest[0], int(rest[1])))
        if kind == "chunks":
            return self.send_chunks(writer, body(rest[0], int(rest[1])))
        if kind == "digest":
            return self.send(writer, method, hashlib.sha256(await content(reader, fields)).hexdigest().encode())
        if kind == "slow":
            await asyncio.sleep(float(rest[2]))
            return self.send(writer, method, body(rest[0], int(rest[1])))
        if kind == "socket":
            return await self.socket(reader, writer, fields)
        return await self.fault(kind, reader, writer)

    def send(self, writer, method, octets):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(octets))
        if method != b"HEAD":
            writer.write(octets)
        return True

    def send_chunks(self, writer, octets):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(octets), 3000):
            part = octets[at:at + 3000]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        return True

    async def socket(self, reader, writer, fields):
        """Echoes messages until one says Close."""
        proof = accept_key(fields[b"sec-websocket-key"])
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n")
        while True:
            opcode, payload = await frame(reader)
            writer.write(framed(opcode, payload))
            await writer.drain()
            if opcode == 8:
                return False

    async def fault(self, kind, reader, writer):
        if kind == "reset":
            writer.transport.abort()
        elif kind == "garbage":
            writer.write(b"220 this is no HTTP\r\n\r\n")
        elif kind == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred")
        elif kind == "stall":
            await reader.read(1)  # until the proxy gives up
        return False
