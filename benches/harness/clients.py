"""Clients that lose nothing silently: no retries, and a ledger with exactly one line for every request they began.

They behave as good clients do: connections are kept, and before a request goes out on one it is looked whether the other side
has closed it meanwhile. Answers are checked: the id must be the request's own, the body complete.

    wrk, hey, h2load and curl are of no use here. They retry on reused connections, or stop at the first closed one and report
    no failure; what they count is shown nowhere as "lost".
"""
import os
import random
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass

from .apps import BIG

TIMEOUT = 15
HOST = b"Host: soak.example\r\n"
CLASSES = ("ok", "refused", "fresh0", "reused0", "cut", "timeout", "4xx", "5xx", "wrong")


class Cut(Exception):
    """The answer began and did not end."""


class Empty(Exception):
    """The connection ended before an answer began."""


@dataclass
class Request:
    """`kind` is fast, slow, big, post or chunked."""

    ident: str
    kind: str
    size: int = 0

    @property
    def method(self):
        return "POST" if self.kind in ("post", "chunked") else "GET"

    def head(self):
        path = f"/big/{self.ident}" if self.kind == "big" else f"/echo/{self.ident}"
        query = f"?ms={5 + self.size % 40}" if self.kind == "slow" else ""
        framing = {"post": f"Content-Length: {self.size}\r\n", "chunked": "Transfer-Encoding: chunked\r\n"}.get(self.kind, "")
        return f"{self.method} {path}{query} HTTP/1.1\r\n".encode() + HOST + framing.encode() + b"\r\n"

    def body(self):
        """In two pieces, so that an endpoint can die between them."""
        halves = [piece for piece in (b"y" * (self.size // 2), b"y" * (self.size - self.size // 2)) if piece]
        if self.kind == "post":
            return halves
        if self.kind == "chunked":
            return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in halves] + [b"0\r\n\r\n"]
        return []


def draw(ident, dice):
    kind = dice.choices(("fast", "slow", "big", "post", "chunked"), (60, 20, 4, 10, 6))[0]
    return Request(ident, kind, dice.randrange(65536) if kind != "fast" else 0)


class Connection:
    """One client connection; it opens itself again when it was found closed *before* a request, never during one."""

    def __init__(self, port):
        self.port, self.sock, self.file, self.used = port, None, None, False

    def ready(self):
        """Opens a connection unless a live one is there."""
        if self.sock and select.select([self.sock], [], [], 0)[0]:
            self.close()
        if not self.sock:
            self.sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file, self.used = self.sock.makefile("rb"), False

    def close(self):
        if self.sock:
            self.file.close()
            self.sock.close()
        self.sock = self.file = None

    def ask(self, request):
        """Sends the request and reads the answer: status, headers, length of the body."""
        try:
            self.sock.sendall(request.head())
            for piece in request.body():
                self.sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # an answer may stand in the buffer all the same
        status, headers = self._head()
        length, text = self._body(headers)
        self.used = True
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, length, text

    def _head(self):
        try:
            line = self.file.readline()
        except ConnectionResetError:
            line = b""
        if not line:
            raise Empty
        headers = {}
        while (field := self._line()) != b"\r\n":
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers

    def _body(self, headers):
        if "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
            return len(body), body[:200]
        total = 0
        while size := int(self._line().split(b";")[0], 16):
            total += len(self._exactly(size))
            self._exactly(2)
        self._exactly(2)
        return total, b""

    def _line(self):
        try:
            line = self.file.readline()
        except ConnectionResetError:
            line = b""
        if not line.endswith(b"\n"):
            raise Cut
        return line

    def _exactly(self, size):
        try:
            data = self.file.read(size)
        except ConnectionResetError:
            data = b""
        if len(data) < size:
            raise Cut
        return data


def attempt(connection, request):
    """One request, once. Returns its class and who answered."""
    try:
        connection.ready()
    except OSError:
        return "refused", "-"
    reused = connection.used
    try:
        status, headers, length, text = connection.ask(request)
    except TimeoutError:
        outcome = "timeout"
    except Empty:
        outcome = "reused0" if reused else "fresh0"
    except (Cut, ConnectionResetError):
        outcome = "cut"
    else:
        return judge(request, status, headers, length, text), headers.get("x-server", "-")
    connection.close()
    return outcome, "-"


def judge(request, status, headers, length, text):
    if status == 599:
        return "refused"  # by the relay, which could not connect
    if status != 200:
        return "5xx" if status >= 500 else "4xx"
    received = str(request.size) if request.method == "POST" else None
    right = headers.get("x-id") == request.ident
    if request.kind == "big":
        right = right and length == BIG
    elif received:
        right = right and text.decode() in (received, "-")
    return "ok" if right else "wrong"


def population(port, ledger, number, connections, think):
    """One process's worth of clients; they stop when standard input ends. A line per request: id, kind, class, begun, ended, who."""
    done = threading.Event()
    out = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    clients = [threading.Thread(target=client, args=(port, out, f"{number}-{n}", think, done)) for n in range(connections)]
    for thread in clients:
        thread.start()
    sys.stdin.read()
    done.set()
    for thread in clients:
        thread.join()


def client(port, out, name, think, done):
    dice, connection, count = random.Random(name), Connection(port), 0
    while not done.is_set():
        count += 1
        request = draw(f"{name}-{count}", dice)
        begun = time.monotonic()
        outcome, who = attempt(connection, request)
        os.write(out, f"{request.ident} {request.kind} {outcome} {begun:.6f} {time.monotonic():.6f} {who}\n".encode())
        if outcome != "ok":
            time.sleep(0.05)  # a dead proxy must not make for a million lines
        time.sleep(dice.random() * think)
    connection.close()


if __name__ == "__main__":
    population(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
