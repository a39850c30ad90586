"""A WebSocket client's checks, plain and over TLS: HTTP-PORT HTTPS-PORT ROOT HOST.

In one thread: Python's TLS before 3.13 mixes up what two threads read and write on one connection.
"""
import asyncio, os, ssl, sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

http, https, root, host = sys.argv[1:]
context = ssl.create_default_context(cafile=root)


def opened(secure, subprotocols=("chat.v1", "other"), **more):
    port, tls = (https, {"ssl": context, "server_hostname": host}) if secure else (http, {})
    scheme = "wss" if secure else "ws"
    more |= tls | {"host": "127.0.0.1", "port": int(port), "proxy": None, "max_size": None, "open_timeout": 30}
    return connect(f"{scheme}://{host}:{port}/echo", subprotocols=subprotocols, **more)


async def heard(line, seconds=20):
    return await asyncio.wait_for(line.recv(), seconds)


async def messages(secure):
    for compression in [None, "deflate"]:
        async with opened(secure, compression=compression) as line:
            assert line.subprotocol == "chat.v1", line.subprotocol
            assert bool(line.protocol.extensions) == bool(compression), "permessage-deflate is the app's to agree on"
            # Every form of length (RFC 6455 5.2), text and binary.
            for size in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20]:
                for message in ["x" * size, os.urandom(size)]:
                    await line.send(message)
                    assert await heard(line) == message, f"{size} bytes"
            await line.send("Grüße 🙂")
            assert await heard(line) == "Grüße 🙂"


async def fragments_and_order(secure):
    async with opened(secure) as line:
        large = os.urandom(24 << 20)
        sending = asyncio.create_task(line.send(large))
        assert await heard(line, 60) == large, "24 MiB in one message"
        await sending
        await line.send(iter(["a", "b", "c" * 70_000]))
        assert await heard(line) == "ab" + "c" * 70_000, "fragments of ours"
        await line.send("fragments")
        parts = [part async for part in line.recv_streaming() if part]
        assert parts == ["one ", "two ", "three"], "fragments of theirs stay fragments"
        await asyncio.wait_for(await line.ping(b"x" * 125), 20)
        await line.send("ping abc")
        assert await heard(line) == "pong", "their ping"
        for n in range(500):
            await line.send(str(n))
        assert [await heard(line) for _ in range(500)] == [str(n) for n in range(500)], "in order"


async def closed_by_them(line):
    try:
        await heard(line)
        raise AssertionError("it stayed open")
    except ConnectionClosed as closed:
        return closed


async def endings(secure):
    for code in [1000, 1001, 1003, 1008, 1011, 1012, 3000, 3999, 4000, 4999]:
        async with opened(secure) as line:
            await line.send(f"close {code} because {code}")
            closed = await closed_by_them(line)
            assert (closed.rcvd.code, closed.rcvd.reason) == (code, f"because {code}"), closed
        async with opened(secure) as line:
            await line.close(code, "ours")
            assert (line.close_code, line.close_reason) == (code, "ours"), (line.close_code, code)
    # A client that breaks the protocol is told so by the app (1002, 1007), and the router carries that back.
    for sent, code in [(b"\x83\x80\0\0\0\0", 1002), (b"\x81\x82\0\0\0\0\xff\xff", 1007), (b"\xc1\x80\0\0\0\0", 1002), (b"\x09\x80\0\0\0\0", 1002)]:
        async with opened(secure, compression=None) as line:
            line.transport.write(sent)
            closed = await closed_by_them(line)
            assert closed.rcvd and closed.rcvd.code == code, (sent, closed)


async def main():
    for secure in [False, True]:
        await messages(secure)
        await fragments_and_order(secure)
        await endings(secure)
    print("done")


asyncio.run(main())
