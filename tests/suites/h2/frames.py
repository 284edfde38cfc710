"""HTTP/2 frames as bytes, and a client connection that writes any of them, right or wrong, and reads what comes back within a bounded wait."""

import collections
import select
import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
TYPES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION")

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)

CODES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
    "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)

LARGEST_WINDOW = 2**31 - 1


def name_of(code):
    return CODES[code] if code < len(CODES) else hex(code)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", name, value) for name, value in pairs))


def priority(depends=0, weight=16, exclusive=False):
    return struct.pack(">IB", depends | exclusive << 31, weight - 1)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def ping(payload=bytes(8), ack=False):
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(code=0, last=0, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + debug)


def data(stream, payload=b"test", end=True):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def headers(stream, block, end=True, done=True):
    return frame(HEADERS, (END_STREAM if end else 0) | (END_HEADERS if done else 0), stream, block)


def continuation(stream, block, done=True):
    return frame(CONTINUATION, END_HEADERS if done else 0, stream, block)


class Frame(collections.namedtuple("Frame", "kind flags stream payload")):
    """One that was received."""

    @property
    def ack(self):
        return bool(self.flags & ACK)

    @property
    def ends_stream(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self):
        """The error code of RST_STREAM or GOAWAY."""
        return struct.unpack_from(">I", self.payload, 4 if self.kind == GOAWAY else 0)[0]

    def __str__(self):
        kind = TYPES[self.kind] if self.kind < len(TYPES) else hex(self.kind)
        if self.kind in (RST_STREAM, GOAWAY):
            return f"{kind} {name_of(self.code)}" + (f" (stream {self.stream})" if self.stream else "")
        return f"{kind} (length {len(self.payload)}, flags {self.flags:#x}, stream {self.stream})"


class Closed(Exception):
    """The peer closed the connection."""

    def __str__(self):
        return "closed"


class Silent(Exception):
    """Nothing came within the wait."""

    def __str__(self):
        return "nothing within the wait"


class Connection:
    """What is sent is held until something is awaited, so that the peer sees the frames of one step at once."""

    def __init__(self, address, tls=False, wait=3.0, buffer=None):
        self.wait, self.tls = wait, tls
        plain = socket.socket()
        if buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.settimeout(wait)
        plain.connect(address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = plain
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2", "the peer did not choose h2 by ALPN"
        self.authority = "{}:{}".format(*address)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 2**20
        self.settings, self.unsent, self.unread, self.closed = {}, b"", b"", False
        self.windows = {0: 65535}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *frames):
        self.unsent += b"".join(frames)

    def flush(self):
        unsent, self.unsent = self.unsent, b""
        try:
            self.socket.settimeout(self.wait)
            self.socket.sendall(unsent)
        except TimeoutError:
            raise Silent from None
        except OSError:
            pass  # It closed: what it said before that is still to be read.

    def receive(self, wait=None):
        """The next frame. Raises Closed or Silent."""
        if self.unsent:
            self.flush()
        deadline = time.monotonic() + (self.wait if wait is None else wait)
        while True:
            if (taken := self.take()) is not None:
                return taken
            self.fill(deadline)

    def take(self):
        """A frame out of what was read already."""
        if len(self.unread) < 9:
            return None
        length = int.from_bytes(self.unread[:3], "big")
        if len(self.unread) < 9 + length:
            return None
        kind, flags, stream = struct.unpack_from(">BBI", self.unread, 3)
        payload, self.unread = self.unread[9 : 9 + length], self.unread[9 + length :]
        return Frame(kind, flags, stream & LARGEST_WINDOW, payload)

    def fill(self, deadline):
        try:
            left = deadline - time.monotonic()
            if left <= 0 and not select.select([self.socket], [], [], 0)[0]:
                raise Silent
            self.socket.settimeout(max(left, 0.001))
            more = self.socket.recv(65536)
        except TimeoutError:
            raise Silent from None
        except OSError:
            more = b""
        if not more:
            self.closed = True
            raise Closed
        self.unread += more

    def shake(self, *own, ack=True):
        """The preface and settings of both sides, acknowledged by both."""
        self.send(PREFACE, settings(*own))
        theirs = acked = False
        while not (theirs and acked):
            got = self.receive()
            if got.kind != SETTINGS:
                continue
            if got.ack:
                acked = True
            else:
                theirs = True
                for at in range(0, len(got.payload), 6):
                    name, value = struct.unpack_from(">HI", got.payload, at)
                    self.settings[name] = value
                if ack:
                    self.send(frame(SETTINGS, ACK))
        if self.unsent:
            self.flush()
        return self

    def request(self, method="GET", *more, path="/"):
        """The fields of a request."""
        return [(":method", method), (":scheme", "https" if self.tls else "http"), (":path", path), (":authority", self.authority), *more]

    def encode(self, fields):
        return self.encoder.encode(fields)

    def open(self, stream=1, method="GET", *more, path="/", end=True, done=True):
        """A request's HEADERS."""
        return headers(stream, self.encode(self.request(method, *more, path=path)), end, done)

    def decode(self, got):
        """The fields of a HEADERS frame that stands alone."""
        block = got.payload
        if got.flags & PADDED:
            block = block[1 : len(block) - block[0]]
        if got.flags & PRIORITIZED:
            block = block[5:]
        return self.decoder.decode(block)

    def window(self, stream):
        """How much DATA may be sent; only `spend` and `gain` keep count."""
        return min(self.windows[0], self.windows.setdefault(stream, self.settings.get(INITIAL_WINDOW_SIZE, 65535)))

    def spend(self, stream, length):
        for one in (0, stream):
            self.windows[one] -= length

    def gain(self, got):
        """A WINDOW_UPDATE that was received."""
        self.window(got.stream)
        self.windows[got.stream] += struct.unpack(">I", got.payload)[0]

    @property
    def largest_frame(self):
        return self.settings.get(MAX_FRAME_SIZE, 16384)
