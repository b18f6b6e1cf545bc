"""Python's `websockets` at both ends of WebSockets through the real binary, each check a few lines.

With permessage-deflate, as that library speaks by default. Every wait has a deadline.
"""

import asyncio
import http
import os
import sys
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from clients import DEADLINE_S, MIB, Process, digest, same


class House:
    """A server of WebSockets and tidegate in front of it."""

    @classmethod
    async def build(cls, binaries):
        house = cls()
        house.closes = asyncio.Queue()
        house.server = await serve(house.talk, "127.0.0.1", 0, process_request=house.admit,
                                   select_subprotocol=house.choose, max_size=None)
        port = house.server.sockets[0].getsockname()[1]
        house.proxy = Process(
            os.path.join(binaries, "tidegate"), "--upstream", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0",
            "--admin", "off", "--access-log", "off", "--drain-timeout", "500ms",
        )
        await asyncio.to_thread(house.proxy.find, r"\bready\b")
        house.url = "ws://" + house.proxy.find(r"listening address=(\S+)")
        return house

    def admit(self, connection, request):
        if request.path == "/forbidden":
            return connection.respond(http.HTTPStatus.FORBIDDEN, "members only\n")

    def choose(self, connection, offered):
        return "chat" if "chat" in offered else None

    async def talk(self, socket):
        """Sends messages back; /split in fragments, /bye says goodbye first."""
        try:
            if socket.request.path == "/bye":
                await socket.close(4001, "no more")
            async for message in socket:
                if socket.request.path == "/split":
                    message = [message[at:at + 1000] for at in range(0, len(message), 1000)]
                await socket.send(message)
        except ConnectionClosed:
            pass
        await self.closes.put((socket.close_code, socket.close_reason))

    def connect(self, path="/", **options):
        return connect(self.url + path, proxy=None, max_size=None, **options)


CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
async def texts_and_binaries_come_back_deflated(house):
    async with house.connect() as socket:
        same(socket.response.headers["Sec-WebSocket-Extensions"].split(";")[0], "permessage-deflate")
        for message in ["", "Hello", "grüße 🌊" * 10_000, b"", os.urandom(125), os.urandom(126), os.urandom(70_000)]:
            await socket.send(message)
            same(await socket.recv(), message)


@check
async def texts_and_binaries_come_back_as_they_are(house):
    async with house.connect(compression=None) as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        for size in [0, 1, 125, 126, 65_535, 65_536, MIB]:
            message = os.urandom(size)
            await socket.send(message)
            same(digest(await socket.recv()), digest(message))


@check
async def messages_of_16_mib_come_back(house):
    async with house.connect(compression=None) as socket:
        message = os.urandom(16 * MIB)
        await socket.send(message)
        same(digest(await socket.recv()), digest(message))


@check
async def fragments_pass_both_ways(house):
    async with house.connect("/split") as socket:
        message = os.urandom(10_000)
        await socket.send(message[at:at + 777] for at in range(0, len(message), 777))
        parts = [part async for part in socket.recv_streaming()]
        same(b"".join(parts), message)
        assert len(parts) >= 10, len(parts)


@check
async def pings_are_answered(house):
    async with house.connect() as socket:
        took = await (await socket.ping())
        return f"{took * 1000:.2f} ms"


@check
async def subprotocols_are_agreed_on(house):
    async with house.connect(subprotocols=["other", "chat"]) as socket:
        same(socket.subprotocol, "chat")


@check
async def a_refusal_is_relayed(house):
    try:
        async with house.connect("/forbidden"):
            raise AssertionError("not refused")
    except InvalidStatus as refusal:
        same((refusal.response.status_code, refusal.response.body), (403, b"members only\n"))


@check
async def close_codes_pass_both_ways(house):
    while not house.closes.empty():
        house.closes.get_nowait()
    async with house.connect() as socket:
        await socket.close(4000, "enough")
    same(await house.closes.get(), (4000, "enough"))
    async with house.connect("/bye") as socket:
        await socket.wait_closed()
        same((socket.close_code, socket.close_reason), (4001, "no more"))
    same(await house.closes.get(), (4001, "no more"))


@check
async def a_hundred_sockets_echo_at_once(house):
    async def talk(number):
        async with house.connect() as socket:
            for n in range(20):
                message = f"{number} {n} " * (number + n)
                await socket.send(message)
                same(await socket.recv(), message)
    await asyncio.gather(*map(talk, range(100)))


@check
async def afterwards_a_shutdown_is_a_close_1001(house):
    while not house.closes.empty():
        house.closes.get_nowait()
    async with house.connect() as socket:
        await socket.send("Hello")
        same(await socket.recv(), "Hello")
        stopped = asyncio.create_task(asyncio.to_thread(house.proxy.stop))
        await socket.wait_closed()
        same(socket.close_code, 1001)
    same((await house.closes.get())[0], 1001)
    same(await stopped, 0, "the exit code after SIGTERM")


async def main():
    house = await House.build(os.path.abspath(sys.argv[1]))
    try:
        for function in CHECKS:
            started = time.monotonic()
            told = await asyncio.wait_for(function(house), DEADLINE_S)
            took = time.monotonic() - started
            print(f"ok   {took:6.2f} s  {function.__name__.replace('_', ' ')}{': ' + told if told else ''}", flush=True)
    except BaseException:
        print(f"FAIL {function.__name__.replace('_', ' ')}", flush=True)
        print("--- log of the proxy ---", *house.proxy.lines[-40:], "---", sep="\n", flush=True)
        raise
    finally:
        house.proxy.kill()
    print(f"{len(CHECKS)} foreign checks of WebSockets passed")


asyncio.run(main())
