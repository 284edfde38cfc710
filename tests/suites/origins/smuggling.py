"""Sends requests whose end can be seen in two places, and other mutations of what frames a request, through Cutover to real app servers.
What the app server reads must be what the client was answered: as many requests, and none that was hidden in another's body.

    smuggling.py [--cutover BINARY] [--brief] [--seed N] [--count N]

The mutations follow from the seed, which is printed.
"""

import argparse
import contextlib
import pathlib
import random
import socket
import sys
import tempfile
import time

from origins import COMMANDS, origin
from started import free_port, running

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: hidden\r\nX: y\r\n\r\n"

LENGTHS = [
    b"Content-Length: {n}", b"Content-Length: +{n}", b"Content-Length: 0{n}", b"Content-Length: {n} ", b"Content-Length:{n}", b"Content-Length : {n}",
    b"Content-Length: {n}, {n}", b"Content-Length: {n}\r\nContent-Length: 0", b"Content-Length: 0\r\nContent-Length: {n}", b"Content-Length: -1",
    b"Content-Length: 0x5", b"Content-Length: {n};", b"Content-Length:\t{n}", b"Content-Length:\r\n {n}", b"content_length: {n}", b"Content-Length: 0",
    b"Content-Length: 18446744073709551621", b"\x0bContent-Length: {n}", b"Content-Length: {n}\x0b", b"Content-Length\x00: {n}", b"X: y\nContent-Length: {n}", b"X: y\rContent-Length: {n}", b"",
]
CODINGS = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: 'chunked'", b"transfer_encoding: chunked", b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
    b"Transfer-Encoding: ", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", b"",
]
CHUNKS = [
    b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5;\nx\r\nhello\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"0;\r\n\r\n", b"\r\n0\r\n\r\n", b"-0\r\n\r\n", b"0\r\n", b"5\r\nhello\r\n", b"0\n\r\n", b"0\r\n\n",
]
LINES = [b"POST /{id} HTTP/1.1\r\n", b"POST /{id} HTTP/1.0\r\n", b"GET /{id} HTTP/1.1\r\n", b"PUT /{id} HTTP/1.1\r\n", b"POST  /{id} HTTP/1.1\r\n", b"POST /{id} HTTP/1.1\n", b"POST http://app/{id} HTTP/1.1\r\n", b"\r\nPOST /{id} HTTP/1.1\r\n"]
HOSTS = [b"Host: app\r\n", b"Host: app\r\nHost: other\r\n", b"Host : app\r\n", b"", b"Host: app\r\n folded\r\n", b"Host: app\r\nConnection: keep-alive, content-length\r\n", b"Host: app\r\nExpect: 100-continue\r\n"]


def request(number, draw):
    """One mutation, with a whole request hidden behind each place where its body could end."""
    usual = lambda choices, part: choices[0] if draw.random() < part else draw.choice(choices)  # noqa: E731
    length, coding, chunks = draw.choice(LENGTHS), draw.choice(CODINGS), draw.choice(CHUNKS)
    body = chunks + HIDDEN
    counted = str(draw.choice([len(chunks), len(body), 5, 0])).encode()
    fields = [field.replace(b"{n}", counted) for field in (length, coding) if field]
    draw.shuffle(fields)
    head = usual(LINES, 0.6).replace(b"{id}", str(number).encode()) + usual(HOSTS, 0.7)
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def answers(port, sent, patience):
    """Everything that comes back until the connection is closed, or nothing has come for a while."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        with contextlib.suppress(OSError):
            client.sendall(sent)
        client.settimeout(patience)
        with contextlib.suppress(OSError):
            while more := client.recv(65536):
                got += more
    return got


def read(server, due, patience=1.0):
    """What the app server wrote down; waits while it has seen less than was answered."""
    seen, until = server.seen(), time.monotonic() + patience
    while len(seen) < due and time.monotonic() < until:
        time.sleep(0.005)
        seen += server.seen()
    return seen


def attack(server, port, options):
    """Returns how many requests were sent, how many of them reached the app server, and what went wrong."""
    draw = random.Random(options.seed)
    wrong, reached, unfinished = [], 0, set()
    for number in range(options.count):
        sent = request(number, draw)
        got = answers(port, sent, options.patience)
        relayed = got.lower().count(b"x-origin:")
        if relayed == 0:
            unfinished.add(f"/{number}")
        # An app server may write down a request whose body never ended; nobody was answered by it.
        seen = [line for line in read(server, relayed) if line.split()[-1] not in unfinished]
        reached += relayed > 0
        hidden = sum("/hidden" in line for line in seen)
        # A second request on the connection is one where both sides see it as one.
        if len(seen) != relayed or hidden > max(0, relayed - 1):
            wrong.append((sent, seen, got))
    # Whatever still arrives belongs to nobody.
    time.sleep(options.patience)
    late = [line for line in server.seen() if line.split()[-1] not in unfinished]
    if late:
        wrong.append((b"", late, b""))
    return reached, wrong


def config(folder, port, app):
    path = folder / "cutover.toml"
    path.write_text(
        f'workers = 1\nstate_dir = "{folder}/state"\nadmin.address = "unix:{folder}/admin.sock"\n'
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\n[services.app]\nprobe.type = "tcp"\nendpoints = ["127.0.0.1:{app}"]\n'
    )
    return path


def through_cutover(name, parent, options):
    folder, port = pathlib.Path(parent) / f"to-{name}", free_port()
    folder.mkdir()
    with origin(name, parent) as server:
        command = [options.cutover, "run", "--config", str(config(folder, port, server.port))]
        with running(*command, port=port, log=folder / "log"):
            assert b"x-origin" in answers(port, b"GET /first HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n", 5).lower(), "no answer"
            read(server, 1)
            reached, wrong = attack(server, port, options)
    print(f"{name}: {options.count} mutations, {reached} passed on, {len(wrong)} read otherwise than answered")
    for sent, seen, got in wrong[:5]:
        print(f"  sent {sent!r}\n  read {seen!r}\n  answered {got[:300]!r}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default=str(pathlib.Path("target/debug/cutover").absolute()))
    parser.add_argument("--brief", action="store_true", help="150 mutations for each app server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--patience", type=float, default=0.05, help="seconds without a byte after which nothing more is awaited")
    parser.add_argument("--origin", choices=COMMANDS, action="append")
    options = parser.parse_args()
    options.count = min(options.count, 150) if options.brief else options.count
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder).chmod(0o755)
        failed = sum(through_cutover(name, folder, options) for name in options.origin or COMMANDS)
    sys.exit(1 if failed else 0)


main()
