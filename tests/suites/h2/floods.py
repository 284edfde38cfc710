"""Floods of HTTP/2 frames against Cutover, one process for each: it must end the connection (or refuse, where a flood asks for something) within
3 000 frames, or go on with at most 10 MiB more memory; meanwhile another connection must be answered promptly, and the app must see
no more requests at once than twice the streams that are allowed. Prints a table.
floods.py [--cutover BINARY] [--only NAME] [--brief], or for another server that listens: --server HOST:PORT --pid PID"""

import argparse
import collections
import contextlib
import fnmatch
import select
import sys
import tempfile
import threading
import time

import proxy
from cases_hpack import number
from frames import (
    DATA, ENABLE_PUSH, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, LARGEST_WINDOW, MAX_CONCURRENT_STREAMS, PADDED, PREFACE, PRIORITY, RST_STREAM,
    WINDOW_UPDATE, Closed, Connection, Silent, continuation, data, frame, headers, name_of, ping, priority, rst_stream, settings, window_update,
)

ALLOWED_FRAMES = 3_000
ALLOWED_GROWTH = 10 * 2**20

PROMPT = 1.0

Flood = collections.namedtuple("Flood", "name row does run read own must refusals batch")
FLOODS = []


def flood(name, row, does, read=True, own=(), must=False, refusals=False, batch=50):
    """Registers a generator of (frames, bytes). `must`: to go on is not enough; `refusals`: RST_STREAM or an error's status is an end;
    `own`: our settings; not `read`: what comes back is left unread."""

    def register(run):
        FLOODS.append(Flood(name, row, does, run, read, own, must, refusals, batch))
        return run

    return register


def ids():
    return iter(range(1, 2**31, 2))


# --- streams that are made and ended -----------------------------------------------------------------------------------------


@flood("rapid-reset", "H2-02", "HEADERS and RST_STREAM, again and again", must=True)
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, path="/slow") + rst_stream(stream)


@flood("made-reset-window-0", "H2-03", "WINDOW_UPDATE of 0 on each new stream", must=True)
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, "POST", path="/slow", end=False) + window_update(stream, 0)


@flood("made-reset-overflow", "H2-03", "WINDOW_UPDATE past 2^31-1 on each new stream", must=True)
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, path="/slow") + window_update(stream, LARGEST_WINDOW)


@flood("made-reset-closed", "H2-03", "DATA after END_STREAM on each new stream", must=True)
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, path="/slow") + data(stream)


@flood("made-reset-priority", "H2-03", "PRIORITY on itself for each new stream")
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, path="/slow") + frame(PRIORITY, 0, stream, priority(depends=stream))


@flood("made-reset-length", "H2-03", "DATA beyond content-length on each new stream", must=True)
def _(peer):
    for stream in ids():
        yield 2, peer.open(stream, "POST", ("content-length", "1"), path="/slow", end=False) + data(stream)


@flood("made-reset-malformed", "H2-03", "a malformed request on each new stream", must=True)
def _(peer):
    for stream in ids():
        yield 1, peer.open(stream, "GET", ("connection", "close"))


@flood("over-concurrency", "H2-14", "more streams than are allowed, none of them ended", refusals=True)
def _(peer):
    for stream in ids():
        yield 1, peer.open(stream, "POST", end=False)


# --- header blocks -----------------------------------------------------------------------------------------------------------


@flood("continuation-empty", "H2-04", "CONTINUATION with nothing, without end")
def _(peer):
    yield 1, peer.open(done=False)
    while True:
        yield 1, continuation(1, b"", done=False)


@flood("continuation-small", "H2-04", "CONTINUATION with a field each, without end")
def _(peer):
    yield 1, peer.open(done=False)
    while True:
        yield 1, continuation(1, b"\x00\x03x-a\x03abc", done=False)


@flood("continuation-large", "H2-04", "CONTINUATION of 16 KiB, without end", batch=5)
def _(peer):
    yield 1, peer.open(done=False)
    value = b"\x00\x03x-a" + number(0, 7, 4000) + b"v" * 4000
    while True:
        yield 1, continuation(1, value * 4, done=False)


@flood("continuation-string", "H2-04", "CONTINUATION of one string of 1 GiB", batch=5)
def _(peer):
    yield 1, headers(1, peer.encode(peer.request()) + b"\x00\x03x-a" + number(0, 7, 2**30), done=False)
    while True:
        yield 1, continuation(1, b"v" * 16384, done=False)


@flood("headers-empty", "H2-12", "HEADERS with nothing on new streams", must=True)
def _(peer):
    for stream in ids():
        yield 1, headers(stream, b"")


@flood("names-empty", "H2-12", "requests with a thousand fields without name and value", refusals=True)
def _(peer):
    for stream in ids():
        yield 1, headers(stream, peer.encode(peer.request()) + b"\x00\x00\x00" * 1000)


@flood("trailers", "H2-12", "HEADERS after HEADERS on one stream, none of them the end", refusals=True)
def _(peer):
    yield 1, peer.open(1, "POST", end=False)
    while True:
        yield 1, headers(1, b"\x00\x03x-a\x03abc", end=False)


@flood("hpack-bomb", "H2-05", "a field of 4 000 bytes by reference, 12 000 times in each request", must=True, refusals=True)
def _(peer):
    yield 1, headers(1, peer.encode(peer.request()) + b"\x40\x03x-a" + number(0, 7, 4000) + b"v" * 4000)
    for stream in range(3, 2**31, 2):
        yield 1, headers(stream, b"\x82\x86\x84" + b"\x41\x01a" + b"\xbf" * 12_000)


@flood("hpack-small", "H2-06", "a field of 2 bytes by reference, 12 000 times in each request", must=True, refusals=True)
def _(peer):
    yield 1, headers(1, peer.encode(peer.request()) + b"\x40\x01x\x01y")
    for stream in range(3, 2**31, 2):
        yield 1, headers(stream, b"\x82\x86\x84" + b"\x01\x01a" + b"\xbe" * 12_000)


@flood("cookie-crumbs", "H2-06", "12 000 empty cookies in each request", must=True, refusals=True)
def _(peer):
    for stream in ids():
        yield 1, headers(stream, b"\x82\x86\x84" + b"\x01\x01a" + b"\xa0" * 12_000)


@flood("list-too-large", "H2-05", "a list of fields of 128 KiB", must=True, refusals=True)
def _(peer):
    value = b"\x00\x03x-a" + number(0, 7, 4000) + b"v" * 4000
    for stream in ids():
        yield 9, peer.open(stream, done=False) + continuation(stream, value * 4, done=False) * 7 + continuation(stream, value * 4)


@flood("table-sizes", "H2-07", "table size updates, 8 000 in each request")
def _(peer):
    for stream in ids():
        yield 1, headers(stream, b"\x20" * 8000 + b"\x82\x86\x84\x01\x01a")


# --- frames that cost little to send -----------------------------------------------------------------------------------------


@flood("data-empty", "H2-10", "DATA with nothing on one stream")
def _(peer):
    yield 1, peer.open(1, "POST", end=False)
    while True:
        yield 1, data(1, b"", end=False)


@flood("data-padding", "H2-10", "DATA of 1 byte with 255 of padding, as the windows allow")
def _(peer):
    yield 1, peer.open(1, "POST", end=False)
    padded = b"\xffx" + bytes(255)
    while True:
        while peer.window(1) < len(padded):
            yield 0, b""
        peer.spend(1, len(padded))
        yield 1, frame(DATA, PADDED, 1, padded)


@flood("settings", "H2-08", "SETTINGS", batch=100)
def _(peer):
    while True:
        yield 1, settings((ENABLE_PUSH, 0))


@flood("settings-unread", "H2-08", "SETTINGS, the acknowledgements left unread", read=False, batch=2000)
def _(peer):
    while True:
        yield 100, settings() * 100


@flood("ping", "H2-09", "PING", batch=100)
def _(peer):
    while True:
        yield 1, ping()


@flood("ping-unread", "H2-09", "PING, the acknowledgements left unread", read=False, batch=2000)
def _(peer):
    while True:
        yield 100, ping() * 100


@flood("priority", "H2-11", "PRIORITY for ever other streams", batch=100)
def _(peer):
    for at, stream in enumerate(ids()):
        yield 1, frame(PRIORITY, 0, stream, priority(depends=stream + 2, exclusive=bool(at % 2)))


@flood("window-updates", "H2-15", "WINDOW_UPDATE of 1 on stream 0", batch=100)
def _(peer):
    while True:
        yield 1, window_update(0, 1)


@flood("unknown-frames", "H2-25", "frames of an unknown type", batch=100)
def _(peer):
    while True:
        yield 1, frame(0x16, 0, 0, bytes(64))


# --- windows -----------------------------------------------------------------------------------------------------------------


@flood("zero-window", "H2-13", "large answers asked on 100 streams, window 0, nothing read", read=False, own=((INITIAL_WINDOW_SIZE, 0),))
def _(peer):
    for stream in range(1, 200, 2):
        yield 1, peer.open(stream, path="/big")


@flood("unread-answers", "H2-13", "large answers asked on 100 streams, largest windows, nothing read", read=False,
       own=((INITIAL_WINDOW_SIZE, LARGEST_WINDOW),))
def _(peer):
    yield 1, window_update(0, LARGEST_WINDOW - 65535)
    for stream in range(1, 200, 2):
        yield 1, peer.open(stream, path="/big")


@flood("window-drip", "H2-06", "large answers asked on 100 streams, a window of 1 byte given again and again", own=((INITIAL_WINDOW_SIZE, 0),))
def _(peer):
    for stream in range(1, 200, 2):
        yield 1, peer.open(stream, path="/big")
    while True:
        for stream in range(1, 200, 2):
            yield 1, window_update(stream, 1)


# --- running one -------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The bystander's request was."""


class Bystander(threading.Thread):
    """Asks on a connection of its own, ever again, and watches the process's memory."""

    def __init__(self, cutover):
        super().__init__(daemon=True)
        self.cutover, self.over = cutover, threading.Event()
        self.asked = self.failed = 0
        self.worst, self.why, self.peak = 0.0, None, 0
        self.connect()
        for _ in range(20):  # Memory that any use takes is not a flood's.
            self.ask()
        self.base = self.peak = cutover.resident

    def connect(self):
        self.peer, self.streams, self.leaves = Connection(self.cutover.clear, wait=5), ids(), False
        self.peer.shake()

    def ask(self):
        """A request; on a new connection after GOAWAY without an error, as after so many requests."""
        if self.leaves:
            self.peer.socket.close()
            self.connect()
        stream = next(self.streams)
        self.peer.send(self.peer.open(stream))
        while True:
            got = self.peer.receive()
            if got.kind == GOAWAY and not got.code:
                self.leaves = True
            elif got.kind in (GOAWAY, RST_STREAM):
                raise Refused(str(got))
            if got.stream == stream and got.ends_stream:
                return

    def run(self):
        while not self.over.wait(0.02):
            start = time.monotonic()
            try:
                self.ask()
            except (Closed, Silent, Refused, OSError) as failure:
                self.failed, self.why = self.failed + 1, failure
                return
            self.worst = max(self.worst, time.monotonic() - start)
            self.asked += 1
            self.peak = max(self.peak, self.cutover.resident)

    def stop(self):
        self.over.set()
        self.join()
        self.peer.socket.close()


class Reaction:
    """What came back, and after how many frames."""

    def __init__(self, flood):
        self.flood, self.end, self.at, self.refused, self.refused_at, self.resets = flood, None, None, None, None, 0
        self.good = 0

    def note(self, got, sent, peer):
        if got.kind == WINDOW_UPDATE:
            peer.gain(got)
        elif got.kind == GOAWAY:
            self.finish(f"GOAWAY {name_of(got.code)}", sent)
        elif got.kind == RST_STREAM:
            self.resets += 1
            self.refuse(f"RST_STREAM {name_of(got.code)}", sent)
        elif got.kind == HEADERS:
            status = dict(peer.decode(got)).get(":status", "")
            if status < "400":
                self.good += 1
            elif self.flood.refusals:
                self.refuse(status, sent)

    def finish(self, what, sent):
        if self.end is None:
            self.end, self.at = what, sent

    def refuse(self, what, sent):
        if self.refused is None:
            self.refused, self.refused_at = what, sent

    def drain(self, peer, sent, wait):
        """Reads what is there."""
        try:
            while True:
                while (got := peer.take()) is not None:
                    self.note(got, sent, peer)
                if not select.select([peer.socket], [], [], wait)[0]:
                    return
                peer.fill(time.monotonic() + 0.001)
        except Closed:
            self.finish("close", sent)
        except Silent:
            pass


def attack(flood, peer, most):
    """Sends frames up to `most`, or to the end of the connection. Returns the reaction and how many were sent."""
    reaction, sent, held, waiting = Reaction(flood), 0, [], 0
    steps, progress = flood.run(peer), time.monotonic()
    while sent < most and reaction.end is None:
        step = next(steps, None)
        if step is not None:
            if step[0]:
                progress = time.monotonic()
            elif time.monotonic() > progress + 2:
                reaction.refuse("gives no window", sent)
                break
            waiting, sent = waiting + step[0], sent + step[0]
            held.append(step[1])
        if waiting >= flood.batch or step is None or not step[0] or sent >= most:
            try:
                peer.socket.settimeout(3)
                peer.socket.sendall(b"".join(held))
            except TimeoutError:
                reaction.refuse("reads no more", sent)
                break
            except OSError:
                if flood.read:
                    reaction.drain(peer, sent, 0.2)
                reaction.finish("close", sent)
            held, waiting = [], 0
            if flood.read:
                reaction.drain(peer, sent, 0.005)
        if step is None:
            break
    time.sleep(1)
    if flood.read:
        reaction.drain(peer, sent, 0.05)
    return reaction, sent


def started(options, folder, app):
    if options.server:
        host, port = options.server.rsplit(":", 1)
        return proxy.Other((host, int(port)), options.pid)
    return proxy.Proxy(options.cutover, folder, app.port)


def one(flood, options, app):
    """Returns a row of the table, and whether all was well."""
    unread = not flood.read
    most = (20_000 if options.brief else 400_000) if unread else (6_000 if options.brief else 20_000)
    with tempfile.TemporaryDirectory() as folder, started(options, folder, app) as cutover:
        bystander = Bystander(cutover)
        app.reset()
        bystander.start()
        with Connection(cutover.clear, buffer=4096 if unread else None) as peer:
            peer.shake(*flood.own)
            reaction, sent = attack(flood, peer, most)
            bystander.stop()
            most_at_once, allowed_at_once = app.most, 2 * peer.settings.get(MAX_CONCURRENT_STREAMS, 128)
        assert cutover.alive, "it ended"
    grown = bystander.peak - bystander.base
    soon = reaction.end is not None and reaction.at <= ALLOWED_FRAMES
    if flood.refusals and reaction.refused is not None and reaction.refused_at <= ALLOWED_FRAMES:
        soon = True
    wrong = []
    if flood.must and not soon:
        wrong.append(f"not within {ALLOWED_FRAMES} frames")
    if flood.must and flood.refusals and reaction.good > 1:
        wrong.append(f"{reaction.good} were answered")
    if most_at_once > allowed_at_once:
        wrong.append(f"{most_at_once} at once at the app")
    if grown > ALLOWED_GROWTH:
        wrong.append("memory")
    if bystander.failed or not bystander.asked:
        wrong.append(f"the other connection: {bystander.why}")
    elif bystander.worst > PROMPT:
        wrong.append("the other connection waited")
    said = reaction.end or reaction.refused or "goes on"
    at = reaction.at or reaction.refused_at
    if reaction.end and reaction.refused:
        said = f"{reaction.refused}, {reaction.end}"
    return (
        flood.name, flood.row, str(sent), said + (f" at {at}" if at else ""), f"{grown / 2**20:.1f}", f"{bystander.worst * 1000:.0f}",
        f"{most_at_once}", "ok" if not wrong else "FAILED: " + ", ".join(wrong),
    )


# --- slow ones ---------------------------------------------------------------------------------------------------------------


def slow(name, row, options, app, start, step, prepared=True, limit=8.0):
    """With timeouts of 2 s: sends `start`, then `step` each 300 ms; the connection or the stream must end within `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder, proxy.Proxy(options.cutover, folder, app.port, header="2s", idle="2s", body="2s") as cutover:
        bystander = Bystander(cutover)
        bystander.start()
        began, ended = time.monotonic(), None
        with Connection(cutover.clear) as peer:
            if prepared:
                peer.shake(*((INITIAL_WINDOW_SIZE, 0),) if name == "stalled-answer" else ())
            peer.send(*start(peer))
            with_step = step(peer)
            while ended is None and time.monotonic() < began + limit:
                try:
                    got = peer.receive(0.3)
                    if got.kind in (GOAWAY, RST_STREAM):
                        ended = str(got)
                    elif got.kind == HEADERS and (status := dict(peer.decode(got)).get(":status", "")) >= "400":
                        ended = status
                except Silent:
                    if piece := next(with_step, None):
                        peer.send(piece)
                except Closed:
                    ended = "close"
        took = time.monotonic() - began
        bystander.stop()
    grown = bystander.peak - bystander.base
    wrong = [] if ended else [f"nothing within {limit:.0f} s"]
    if bystander.failed or bystander.worst > PROMPT:
        wrong.append(f"the other connection: {bystander.why or 'waited'}")
    return (
        name, row, "", (f"{ended} after {took:.1f} s" if ended else "goes on"), f"{grown / 2**20:.1f}", f"{bystander.worst * 1000:.0f}", "",
        "ok" if not wrong else "FAILED: " + ", ".join(wrong),
    )


def bytes_of(whole):
    return lambda _: (whole[at : at + 1] for at in range(len(whole)))


SLOW = {
    "slow-preface": ("H2-27", lambda peer: [b""], bytes_of(PREFACE), False),
    "no-settings": ("H2-27", lambda peer: [PREFACE], lambda peer: iter(()), False),
    "slow-headers": (
        "H1-36", lambda peer: [peer.open(done=False)],
        lambda peer: (continuation(1, piece, done=False) for piece in [b"\x00\x7f\x81\x00", *[b"v"] * 1000]), True,
    ),
    "slow-frame": ("H1-36", lambda peer: [peer.open()[:12]], lambda peer: iter(()), True),
    "slow-body": ("H1-37", lambda peer: [peer.open(1, "POST", end=False)], lambda peer: iter(()), True),
    "stalled-answer": ("H2-06", lambda peer: [peer.open(1, path="/big")], lambda peer: iter(()), True),
}

# --- many that do not read ---------------------------------------------------------------------------------------------------


def unread(name, row, options, app, connections, streams, allowed):
    """Many connections ask for large answers and read nothing: they may hold what docs/reliability.md says, `allowed` each."""
    with tempfile.TemporaryDirectory() as folder, proxy.Proxy(options.cutover, folder, app.port) as cutover:
        bystander = Bystander(cutover)
        bystander.start()
        app.reset()
        with contextlib.ExitStack() as open_ones:
            for _ in range(connections):
                peer = open_ones.enter_context(Connection(cutover.clear, buffer=4096))
                if not streams:
                    peer.socket.sendall(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
                    continue
                peer.shake((INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
                peer.send(window_update(0, LARGEST_WINDOW - 65535), *(peer.open(stream, path="/big") for stream in range(1, 2 * streams, 2)))
                peer.flush()
            wanted, deadline = connections * max(streams, 1), time.monotonic() + 60
            while app.most < wanted and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(2)
            bystander.stop()
        assert cutover.alive, "it ended"
    grown = bystander.peak - bystander.base
    wrong = [] if app.most >= wanted else [f"only {app.most} of {wanted} came to the app"]
    if grown > connections * allowed:
        wrong.append(f"memory: more than {connections * allowed / 2**20:.0f}")
    if bystander.failed:
        wrong.append(f"the other connection: {bystander.why}")
    return (
        name, row, "", f"{grown / connections / 2**10:.0f} KiB each", f"{grown / 2**20:.1f}", f"{bystander.worst * 1000:.0f}", f"{app.most}",
        "ok" if not wrong else "FAILED: " + ", ".join(wrong),
    )


# Connections, streams on each (0 for HTTP/1.1), and what a connection may hold.
UNREAD = {"unread-http1": ("O-05", 100, 0, 1280 * 2**10), "unread-http2": ("O-05", 4, 100, 10 * 2**20)}


def guarded(name, row, run):
    """A row even where the connection could not be used at all."""
    try:
        return run()
    except (Closed, Silent, OSError, AssertionError) as failure:
        return name, row, "", "", "", "", "", f"FAILED: {failure or repr(failure)}"


HEAD = ("flood", "row", "frames", "reaction", "MiB", "other ms", "at once", "verdict")


def show(row):
    widths = (21, 6, 7, 46, 6, 9, 8, 0)
    print(" ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--server")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--only", default="*")
    parser.add_argument("--brief", action="store_true", help="fewer frames")
    options = parser.parse_args()
    show(HEAD)
    rows = []
    with proxy.App() as app:
        for flood in FLOODS:
            if fnmatch.fnmatch(flood.name, options.only):
                rows.append(guarded(flood.name, flood.row, lambda: one(flood, options, app)))
                show(rows[-1])
        for name, (row, start, step, prepared) in SLOW.items():
            if fnmatch.fnmatch(name, options.only) and not options.server:
                rows.append(guarded(name, row, lambda: slow(name, row, options, app, start, step, prepared)))
                show(rows[-1])
        for name, (row, *sizes) in UNREAD.items():
            if fnmatch.fnmatch(name, options.only) and not options.server:
                rows.append(guarded(name, row, lambda: unread(name, row, options, app, *sizes)))
                show(rows[-1])
    failed = [row[0] for row in rows if row[-1] != "ok"]
    print(f"floods: {len(rows) - len(failed)}/{len(rows)} withstood" + (f"; not: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
