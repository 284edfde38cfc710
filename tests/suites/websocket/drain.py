"""A real client and a real server (`websockets`) through a real Cutover, over what an operator does: switch, drain, cut, SIGTERM. Each step says
what both ends saw. drain.py [--cutover BINARY]"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import signal
import tempfile
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


class App:
    """Echoes with its name in front, and keeps the close codes that it was told."""

    def __init__(self, name):
        self.name = name
        self.codes = []

    async def __aenter__(self):
        self.server = await serve(self.handle, "127.0.0.1", 0, ping_interval=None)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def handle(self, socket):
        try:
            async for message in socket:
                await socket.send(f"{self.name} {message}")
        finally:
            self.codes.append(socket.close_code)


class Proxy:
    def __init__(self, binary, folder, blue, green):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.config = self.folder / "cutover.toml"
        self.config.write_text(
            f'workers = 2\nstate_dir = "{folder}/state"\nshutdown = {{ lame_duck = "0ms", deadline = "1s" }}\n'
            f'[admin]\naddress = "unix:{folder}/admin.sock"\n[[listeners]]\naddress = "127.0.0.1:0"\n'
            '[services.chat]\nprobe = { type = "tcp", interval = "50ms" }\nweights = { blue = 1, green = 0 }\n'
            'drain = { deadline = "1s" }\n'
            f'pools.blue.endpoints = ["127.0.0.1:{blue}"]\npools.green.endpoints = ["127.0.0.1:{green}"]\n'
        )

    async def __aenter__(self):
        self.log = open(self.folder / "log", "w")
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "run", "--config", str(self.config), stdout=self.log, stderr=self.log
        )
        self.port = await within(self.listens())
        return self

    async def listens(self):
        """The port that the kernel chose, from the table of listening sockets that the process has."""
        while True:
            assert self.process.returncode is None, (self.folder / "log").read_text()
            for port in listening(self.process.pid):
                return port
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.log.close()

    async def cli(self, *arguments):
        process = await asyncio.create_subprocess_exec(
            self.binary, *arguments, "--json", "--admin", f"unix:{self.folder}/admin.sock",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, json.loads(out) if out.strip() else err.decode()

    def connect(self):
        return connect(f"ws://127.0.0.1:{self.port}/chat", ping_interval=None)


def listening(pid):
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(fd.readlink()))
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            yield int(fields[1].split(":")[1], 16)


async def within(awaitable, seconds=20):
    return await asyncio.wait_for(awaitable, seconds)


async def says(socket, text):
    await socket.send(text)
    return await within(socket.recv())


async def close_of(socket):
    try:
        while True:
            await within(socket.recv())
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


async def until(what, condition):
    async def holds():
        while not condition():
            await asyncio.sleep(0.02)

    try:
        await within(holds())
    except asyncio.TimeoutError:
        raise AssertionError(f"waited too long for {what}") from None


async def story(binary, folder):
    async with App("blue") as blue, App("green") as green, Proxy(binary, folder, blue.port, green.port) as proxy:
        old = await within(proxy.connect())
        assert await says(old, "1") == "blue 1"
        _, status = await proxy.cli("status", "chat")
        assert status["pools"]["blue"]["tunnels"] == 1, status["pools"]

        start = time.monotonic()
        code, switched = await proxy.cli("switch", "chat", "green", "--wait", "--deadline", "2s")
        took = time.monotonic() - start
        assert (code, switched["drained"], switched["safe_to_stop"], switched["tunnels"]) == (0, True, True, 0), (code, switched)
        assert 1.9 < took < 5, took
        assert await close_of(old) == 1001
        await until("blue to be told", lambda: blue.codes == [1001])
        print(f"switch --wait --deadline 2s: closed with 1001 at both ends after {took:.2f} s, then safe to stop")

        new = await within(proxy.connect())
        assert await says(new, "2") == "green 2"
        code, drained = await proxy.cli("drain", "chat/green", "--force", "--wait", "--deadline", "200ms")
        assert (code, drained["safe_to_stop"], drained["tunnels"]) == (0, True, 0), (code, drained)
        assert await close_of(new) == 1001 and green.codes == [1001]
        print("drain --wait --deadline 200ms: closed with 1001 at both ends, then safe to stop")

        code, _ = await proxy.cli("restore", "chat/green", "--wait")
        assert code == 0
        last = await within(proxy.connect())
        assert await says(last, "3") == "green 3"
        proxy.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert await close_of(last) == 1001
        code = await within(proxy.process.wait())
        took = time.monotonic() - start
        log = (pathlib.Path(folder) / "log").read_text()
        assert code == 0, (code, log)
        await until("green to be told", lambda: green.codes == [1001, 1001])
        print(f"SIGTERM: closed with 1001 at both ends after {took:.2f} s, exit code 0")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(options.cutover, folder))


if __name__ == "__main__":
    main()
