"""What idle tunnels cost: opens many through Cutover, passes a large message through each so that every buffer has been in use, lets them idle, and
prints the process's memory and open files. Fails above the bound. idle.py [--cutover BINARY] [--tunnels N] [--bound BYTES]"""

import argparse
import asyncio
import base64
import hashlib
import pathlib
import resource
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from drain import Proxy, until, within

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(b"the sample nonce")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest())
REQUEST = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: " + KEY + b"\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: " + ACCEPT + b"\r\n\r\n"
PAYLOAD = 20_000
MESSAGE = b"\x82\x7e" + PAYLOAD.to_bytes(2, "big") + bytes(PAYLOAD)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.head = transport, b""

    def data_received(self, data):
        if self.head is None:
            self.transport.write(data)
            return
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):
            self.head = None
            self.transport.write(SWITCHING)


class Client(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, 0
        transport.write(REQUEST)

    def data_received(self, data):
        self.got += len(data)


async def open_all(port, count):
    loop, clients = asyncio.get_running_loop(), []
    for start in range(0, count, 100):
        batch = [loop.create_connection(Client, "127.0.0.1", port) for _ in range(min(100, count - start))]
        clients += [client for _, client in await within(asyncio.gather(*batch))]
        await until("the tunnels", lambda: all(client.got > 100 for client in clients[start:]))
    return clients


def usage(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(memory.split()[1]) * 1024, len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


async def story(options, folder):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(options.cutover, folder, port, port) as proxy:
        warm = await open_all(proxy.port, 100)
        before, files_before = usage(proxy.process.pid)
        clients = await open_all(proxy.port, options.tunnels)
        opened, _ = usage(proxy.process.pid)
        for start in range(0, len(clients), 50):
            batch = clients[start : start + 50]
            for client in batch:
                client.got = 0
                client.transport.write(MESSAGE)
            await until("the echoes", lambda: all(client.got == len(MESSAGE) for client in batch))
        await asyncio.sleep(3)
        after, files = usage(proxy.process.pid)
        each = (after - before) / len(clients)
        print(
            f"{len(clients)} idle tunnels: {(opened - before) / len(clients):.0f} bytes each when opened, {each:.0f} after a message of "
            f"{PAYLOAD} bytes each way; {(files - files_before) / len(clients):.2f} files each; {after / 2**20:.0f} MiB in all"
        )
        assert len(warm) == 100
        return each <= options.bound


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--tunnels", type=int, default=10_000)
    parser.add_argument("--bound", type=int, default=16 << 10)
    options = parser.parse_args()
    # Two files a tunnel in Cutover, and two in this process, which is both of its ends.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    options.tunnels = min(options.tunnels, (most - 500) // 2)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if asyncio.run(story(options, folder)) else 1)


main()
