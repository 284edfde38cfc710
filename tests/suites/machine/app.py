"""An app server: app.py PORT. Answers everything with what its path asks for.

    /slow       100 ms later
    /bytes/N    N bytes            /never   nothing            /probes   how often /healthz was asked for, and the longest pause between

A body is read only where the path is not /unread.
"""

import asyncio
import json
import sys
import time

asked = []


async def answer(writer, status, body):
    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
    for start in range(0, len(body), 65536):
        writer.write(body[start : start + 65536])
        await writer.drain()


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            path, length = line.split()[1].decode(), 0
            while (field := await reader.readline()).strip():
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split(b":")[1])
            if path == "/unread":
                await asyncio.sleep(3600)
            if path == "/never":
                # Until the other side has had enough.
                await reader.read()
                return
            await reader.readexactly(length)
            body = b"ok"
            if path == "/healthz":
                asked.append(time.monotonic())
            elif path == "/probes":
                pauses = [after - before for before, after in zip(asked, asked[1:])]
                body = json.dumps({"count": len(asked), "pause": max(pauses, default=0)}).encode()
                del asked[:-1]
            elif path == "/slow":
                await asyncio.sleep(0.1)
            elif path.startswith("/bytes/"):
                body = bytes(int(path.split("/")[2]))
            await answer(writer, 200, body)
    except (OSError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


asyncio.run(main())
