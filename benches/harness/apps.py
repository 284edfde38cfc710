"""App servers of three makes, to be killed and started again: Python's http.server, Node's http, nginx.

All answer `/healthz`, `/echo/ID` (the number of bytes received, which nginx can't know; `?ms=` makes the others wait) and `/big/ID` (256 KiB), with
`X-Server: NAME` and `X-Id: ID`, and write `METHOD ID` to their log: Python and Node when they begin, nginx when it has ended.
"""
import contextlib
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .machine import answers, free_port

HERE = Path(__file__).resolve().parent.parent / "apps"
MAKES = ("python", "node", "nginx")
BIG = 256 * 1024


@dataclass
class App:
    name: str
    make: str
    port: int
    dir: Path
    processes: object
    process: object = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.dir / "ledger"

    def start(self):
        self.process = self.processes.start(range(os.cpu_count()), self.command(), self.dir / "log")
        if not answers(self.port, self.process):
            sys.exit(f"the app server {self.name} did not start:\n" + (self.dir / "log").read_text())

    def kill(self):
        """SIGKILL to all of it at once. Returns when it began and when it was over: nginx's worker outlives its master, which is
        the one that is waited for, by some milliseconds, so the port tells."""
        begun = time.monotonic()
        self.processes.kill(self.process)
        while accepts(self.port):
            pass
        return begun, time.monotonic()

    def restart(self):
        killed = self.kill()
        self.start()
        return killed

    def command(self):
        if self.make == "nginx":
            return ["nginx", "-p", str(self.dir), "-c", str(self._nginx_config()), "-g", "daemon off;"]
        program = {"python": [sys.executable, str(HERE / "app.py")], "node": ["node", str(HERE / "app.js")]}[self.make]
        return [*program, self.name, str(self.port), str(self.log)]

    def _nginx_config(self):
        (self.dir / "www").mkdir(exist_ok=True)
        (self.dir / "www" / "big.bin").write_bytes(b"x" * BIG)
        text = (HERE / "app.conf").read_text()
        for key, value in {"NAME": self.name, "PORT": self.port, "LOG": self.log}.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.dir / "nginx.conf"
        path.write_text(text)
        return path


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def start_pool(pool, folder, processes):
    """One server of each make, named `pool-make`."""
    apps = []
    for make in MAKES:
        path = Path(folder) / f"{pool}-{make}"
        path.mkdir()
        app = App(path.name, make, free_port(), path, processes)
        app.start()
        apps.append(app)
    return apps
