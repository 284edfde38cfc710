"""What must come back. Each waits a bounded time, raises Unexpected with what came instead, and returns a remark where what came is allowed but
is not what the RFC asks for first."""

from frames import (
    ACK, DATA, GOAWAY, HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, TYPES, Closed, Silent, name_of,
)


class Unexpected(Exception):
    def __init__(self, wanted, came):
        super().__init__(f"wanted {wanted}, came {came}")


class Skipped(Exception):
    """The peer's settings leave nothing to try."""


def until(peer, wanted, accept):
    """Reads frames up to one that `accept` takes."""
    last = None
    while True:
        try:
            got = peer.receive()
        except (Closed, Silent) as ending:
            raise Unexpected(wanted, f"{ending} after {last}" if last else ending) from None
        if accept(got):
            return got
        last = got


def closed(peer):
    """The connection is closed, whatever comes before that."""
    last = None
    while True:
        try:
            last = peer.receive()
        except Closed:
            return None
        except Silent as ending:
            raise Unexpected("close", f"{ending} after {last}" if last else ending) from None


def error(peer, codes, kinds, wanted):
    last = None
    while True:
        try:
            got = peer.receive()
        except Closed:
            return f"closed after {last}" if last and last.kind in (GOAWAY, RST_STREAM) else "closed without a word"
        except Silent as ending:
            raise Unexpected(wanted, f"{ending} after {last}" if last else ending) from None
        if got.kind in kinds and got.code in codes:
            return None
        if got.kind not in (PING, SETTINGS):
            last = got


def connection_error(peer, *codes):
    """GOAWAY with one of these codes; a close is allowed."""
    return error(peer, codes, (GOAWAY,), "GOAWAY " + " or ".join(map(name_of, codes)))


def stream_error(peer, *codes):
    """RST_STREAM, or GOAWAY, with one of these codes; a close is allowed."""
    return error(peer, codes, (RST_STREAM, GOAWAY), "RST_STREAM " + " or ".join(map(name_of, codes)))


def goaway(peer, *codes):
    """GOAWAY itself; a close without it is not enough."""
    until(peer, "GOAWAY " + " or ".join(map(name_of, codes)), lambda got: got.kind == GOAWAY and got.code in codes)


def rst_stream(peer, stream, *codes):
    """RST_STREAM itself."""
    wanted = "RST_STREAM " + " or ".join(map(name_of, codes))
    until(peer, wanted, lambda got: got.kind == RST_STREAM and got.stream == stream and got.code in codes)


def kind(peer, *kinds):
    """A frame of one of these types."""
    return until(peer, " or ".join(TYPES[one] for one in kinds), lambda got: got.kind in kinds)


def answer(peer, stream=1):
    """The head of an answer on this stream, which is no error of the server's."""
    got = until(peer, f"HEADERS (stream {stream})", lambda got: got.kind == HEADERS and got.stream == stream)
    status = dict(peer.decode(got)).get(":status", "none")
    if not "100" <= status < "500":
        raise Unexpected("an answer", f"status {status}")
    return None if status == "200" else f"status {status}"


def end(peer, stream=1):
    """A frame that ends the stream from the peer's side."""
    until(peer, "END_STREAM", lambda got: got.stream == stream and got.ends_stream)


def pong(peer, payload=bytes(8)):
    """PING, acknowledged, with this payload."""
    until(peer, "PING ack", lambda got: got.kind == PING and got.flags & ACK and got.payload == payload)


def acked(peer):
    """SETTINGS, acknowledged."""
    until(peer, "SETTINGS ack", lambda got: got.kind == SETTINGS and got.ack)


def data(peer, length, stream=1):
    """DATA of exactly this length."""
    got = until(peer, f"DATA (length {length})", lambda got: got.kind == DATA and got.stream == stream)
    if len(got.payload) != length:
        raise Unexpected(f"DATA (length {length})", got)


def refused(peer, stream=1):
    """RST_STREAM or GOAWAY with an error, a close, or an answer that says whose fault it is: 4xx or 501."""
    wanted, last = "RST_STREAM PROTOCOL_ERROR or 4xx", None
    while True:
        try:
            got = peer.receive()
        except Closed:
            return f"closed after {last}" if last else "closed without a word"
        except Silent as ending:
            raise Unexpected(wanted, f"{ending} after {last}" if last else ending) from None
        if got.kind in (RST_STREAM, GOAWAY):
            if got.code == NO_ERROR:
                raise Unexpected(wanted, got)
            return None if got.code == PROTOCOL_ERROR else str(got)
        if got.kind == HEADERS and got.stream == stream:
            status = dict(peer.decode(got)).get(":status", "none")
            if "400" <= status < "500" or status == "501":
                return f"status {status}"
            raise Unexpected(wanted, f"status {status}")
        if got.kind not in (PING, SETTINGS):
            last = got
