"""How long a change of weights takes: from the call to the last answer that still came by the old weights.

All traffic is moved from blue to green and back while h2load keeps a fixed rate up. One connection asks `/who` without pause;
the app servers answer with their names. The moment counted is when the first answer *arrived* after which all came by the new weights, so
a request's own time is in it: the figure is an upper bound. It is measured with the state on disk and in memory; what differs is
fsync.
"""
import select
import socket
import statistics
import subprocess
import time

from . import load
from .admin import Admin
from .figures import Figure, print_table
from .machine import on_cores
from .proxies import state_folder

CHANGES = 50
BACKGROUND_RATE = 4000
LOOK_AFTER = 0.02


class Observer:
    """Asks who answers, again and again, on one connection."""

    def __init__(self, port):
        self._sock = socket.create_connection(("127.0.0.1", port), 5)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def who(self):
        self._sock.sendall(b"GET /who HTTP/1.1\r\nHost: observer\r\n\r\n")
        answer = b""
        while not answer.endswith((b"blue", b"green")):
            more = self._sock.recv(4096)
            answer += more
            if not more or not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the observer got {answer[:200]!r}")
        return "blue" if answer.endswith(b"blue") else "green"


def run(stage, options):
    changes = 10 if options.quick else CHANGES
    rows, medians = [], {}
    for name in ("in memory", "on disk"):
        with state_folder(name == "in memory") as state:
            moved, answered = measure(stage, changes, state)
        medians[name] = statistics.median(moved)
        rows.append([f"state {name}", *summary(moved), *summary(answered)])
    print(f"\n## A change of weights, {changes} times, under {BACKGROUND_RATE} requests/s; milliseconds after the call\n")
    print_table(["", "new weights only: median", "worst", "call answered: median", "worst"], rows)
    note = f"with fsync on this disk {medians['on disk']:.2f} ms"
    return [Figure("weight change: call to last request on the old weights", medians["in memory"], 10, 2, " ms", strict=True, note=note)]


def summary(values):
    return [f"{statistics.median(values):.2f}", f"{max(values):.2f}"]


def measure(stage, changes, state):
    proxy = stage.start("cutover", state=state)
    command = load.fixed_rate_command(proxy.url("1k"), 32, BACKGROUND_RATE, changes)
    background = subprocess.Popen(on_cores(stage.other_cores, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        admin, observer = Admin(proxy.dir / "admin.sock"), Observer(proxy.port)
        admin.weights("app", blue=100, green=0)
        pairs = [change(admin, observer, ("blue", "green") if number % 2 == 0 else ("green", "blue")) for number in range(changes)]
    finally:
        background.kill()
        background.wait()
        stage.stop(proxy)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def change(admin, observer, direction):
    """Moves all traffic one way; milliseconds until answers come by the new weights only, and until the call was answered."""
    old, new = direction
    settle(observer, old)
    begun = time.perf_counter()
    admin.send_weights("app", **{old: 0, new: 100})
    moved = answered = None
    while not (moved and answered) or time.perf_counter() - max(moved, answered) < LOOK_AFTER:
        if observer.who() == old:
            moved = None
        elif moved is None:
            moved = time.perf_counter()
        if answered is None and select.select([admin], [], [], 0)[0]:
            answered = time.perf_counter()
    admin.receive()
    return (moved - begun) * 1e3, (answered - begun) * 1e3


def settle(observer, expected):
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        if observer.who() != expected:
            raise RuntimeError(f"{expected} has all the weight, and another pool answered")
