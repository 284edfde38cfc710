"""A long wire between clients and the proxy: relay.py LISTEN TARGET MILLISECONDS delays every byte, and every end, each way.

On one machine a client learns of a closed connection at once. Over a wire it may have sent its next request meanwhile, and that
is where proxies lose requests when they close idle connections. A connection that the target refuses is answered with a 599,
so that clients can tell "refused" from "accepted, then lost".
"""
import asyncio
import contextlib
import socket
import sys

REFUSED = b"HTTP/1.1 599 Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


async def deliver(queue, writer, loop):
    """Writes each piece when it is due; an empty piece is the end."""
    with contextlib.suppress(OSError):
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def one_way(reader, writer, delay):
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()
    delivery = asyncio.create_task(deliver(queue, writer, loop))
    data = b" "
    while data:
        try:
            data = await reader.read(65536)
        except OSError:
            data = b""
        queue.put_nowait((loop.time() + delay, data))
    await delivery


async def serve(reader, writer, target, delay):
    try:
        there_reader, there = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.write(REFUSED)
    else:
        for end in (writer, there):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(one_way(reader, there, delay), one_way(there_reader, writer, delay))
        there.close()
    with contextlib.suppress(OSError):
        await writer.drain()
        writer.close()


async def main(listen, target, milliseconds):
    server = await asyncio.start_server(lambda r, w: serve(r, w, target, milliseconds / 1000), "127.0.0.1", listen, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
