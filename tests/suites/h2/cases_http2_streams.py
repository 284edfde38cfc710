"""h2spec's cases of RFC 9113 §3 to §5: preface, frame format, stream states."""

import expect
from case import case
from frames import (
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, PING,
    PREFACE, PRIORITIZED, PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, SETTINGS, STREAM_CLOSED, continuation, data, frame, headers, ping,
    priority, rst_stream, settings, window_update,
)

UNKNOWN = 0x16
DUMMY = ("x-dummy0", "x" * 4000)

# --- 3.5: preface ------------------------------------------------------------------------------------------------------------


@case("http2/3.5/1", "9113 §3.4", "a client preface", shaken=False)
def _(peer):
    peer.send(PREFACE, settings((INITIAL_WINDOW_SIZE, 65535)))
    got = expect.kind(peer, SETTINGS)
    if got.ack:
        raise expect.Unexpected("SETTINGS without ack", got)


@case("http2/3.5/2", "9113 §3.4", "an invalid preface", shaken=False)
def _(peer):
    peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    return expect.closed(peer)


# --- 4: frames ---------------------------------------------------------------------------------------------------------------


@case("http2/4.1/1", "9113 §4.1", "a frame of an unknown type")
def _(peer):
    peer.send(frame(UNKNOWN, 0, 0, bytes(8)), ping())
    return expect.pong(peer)


@case("http2/4.1/2", "9113 §4.1", "a frame with undefined flags")
def _(peer):
    peer.send(frame(PING, 0x16, 0, bytes(8)))
    return expect.pong(peer)


@case("http2/4.1/3", "9113 §4.1", "a frame with the reserved bit")
def _(peer):
    peer.send(frame(PING, 0x16, 2**31, bytes(8)))
    return expect.pong(peer)


@case("http2/4.2/1", "9113 §4.2", "DATA as large as is allowed")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1, b"x" * peer.largest_frame))
    return expect.answer(peer)


@case("http2/4.2/2", "9113 §4.2", "DATA larger than is allowed")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1, b"x" * (peer.largest_frame + 1)))
    return expect.stream_error(peer, FRAME_SIZE_ERROR)


@case("http2/4.2/3", "9113 §4.2", "HEADERS larger than is allowed")
def _(peer):
    # A literal without Huffman coding: as long as it says.
    block = peer.encode(peer.request())
    peer.send(headers(1, block + b"\x00\x07x-dummy" + b"\x7f\x81\x7f" + b"x" * peer.largest_frame))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


@case("http2/4.3/1", "9113 §4.3", "an invalid header block")
def _(peer):
    peer.send(headers(1, b"\x40"))
    return expect.connection_error(peer, COMPRESSION_ERROR)


@case("http2/4.3/2", "9113 §4.3", "PRIORITY within a header block")
def _(peer):
    peer.send(peer.open(end=False, done=False), frame(PRIORITY, 0, 1, priority(weight=256)), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/4.3/3", "9113 §4.3", "HEADERS of another stream within a header block")
def _(peer):
    peer.send(peer.open(end=False, done=False), peer.open(3), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


# --- 5.1: states -------------------------------------------------------------------------------------------------------------


@case("http2/5.1/1", "9113 §5.1", "idle: DATA")
def _(peer):
    peer.send(data(1))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1/2", "9113 §5.1", "idle: RST_STREAM")
def _(peer):
    peer.send(rst_stream(1))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1/3", "9113 §5.1", "idle: WINDOW_UPDATE")
def _(peer):
    peer.send(window_update(1, 100))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1/4", "9113 §5.1", "idle: CONTINUATION")
def _(peer):
    peer.send(continuation(1, peer.encode(peer.request())))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1/5", "9113 §5.1", "half-closed (remote): DATA")
def _(peer):
    peer.send(peer.open(), data(1))
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/5.1/6", "9113 §5.1", "half-closed (remote): HEADERS")
def _(peer):
    peer.send(peer.open(), peer.open())
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/5.1/7", "9113 §5.1", "half-closed (remote): CONTINUATION")
def _(peer):
    peer.send(peer.open(), continuation(1, peer.encode(peer.request())))
    return expect.stream_error(peer, STREAM_CLOSED, PROTOCOL_ERROR)


@case("http2/5.1/8", "9113 §5.1", "closed: DATA after RST_STREAM")
def _(peer):
    peer.send(peer.open(end=False), rst_stream(1), data(1))
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/5.1/9", "9113 §5.1", "closed: HEADERS after RST_STREAM")
def _(peer):
    peer.send(peer.open(end=False), rst_stream(1), peer.open())
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/5.1/10", "9113 §5.1", "closed: CONTINUATION after RST_STREAM")
def _(peer):
    peer.send(peer.open(end=False), rst_stream(1), continuation(1, peer.encode([DUMMY])))
    return expect.stream_error(peer, STREAM_CLOSED, PROTOCOL_ERROR)


def answered(peer):
    peer.send(peer.open())
    expect.end(peer)


@case("http2/5.1/11", "9113 §5.1", "closed: DATA")
def _(peer):
    answered(peer)
    peer.send(data(1))
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/5.1/12", "9113 §5.1", "closed: HEADERS")
def _(peer):
    answered(peer)
    peer.send(peer.open())
    return expect.connection_error(peer, STREAM_CLOSED)


@case("http2/5.1/13", "9113 §5.1", "closed: CONTINUATION")
def _(peer):
    answered(peer)
    peer.send(continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, STREAM_CLOSED, PROTOCOL_ERROR)


@case("http2/5.1.1/1", "9113 §5.1.1", "an even stream identifier")
def _(peer):
    peer.send(peer.open(2))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1.1/2", "9113 §5.1.1", "a stream identifier below the last one")
def _(peer):
    peer.send(peer.open(5), peer.open(3))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/5.1.2/1", "9113 §5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS", body=True)
def _(peer):
    most = peer.settings.get(MAX_CONCURRENT_STREAMS)
    if most is None or most > 10_000:
        raise expect.Skipped(f"the peer allows {most or 'any number of'} streams")
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)), *(peer.open(2 * at + 1) for at in range(most + 1)))
    return expect.stream_error(peer, PROTOCOL_ERROR, REFUSED_STREAM)


# --- 5.3 to 5.5 --------------------------------------------------------------------------------------------------------------


@case("http2/5.3.1/1", "7540 §5.3.1", "HEADERS that depend on their own stream")
def _(peer):
    peer.send(frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority(depends=1, weight=256) + peer.encode(peer.request())))
    return expect.stream_error(peer, PROTOCOL_ERROR)


@case("http2/5.3.1/2", "7540 §5.3.1", "PRIORITY that depends on its own stream")
def _(peer):
    peer.send(frame(PRIORITY, 0, 1, priority(depends=1, weight=256)))
    return expect.stream_error(peer, PROTOCOL_ERROR)


@case("http2/5.4.1/1", "9113 §5.4.1", "an invalid PING: the connection is closed")
def _(peer):
    peer.send(frame(PING, 0, 3, bytes(8)))
    return expect.closed(peer)


@case("http2/5.4.1/2", "9113 §5.4.1", "an invalid PING: GOAWAY comes first", strict=True)
def _(peer):
    peer.send(frame(PING, 0, 3, bytes(8)))
    expect.kind(peer, GOAWAY)


@case("http2/5.5/1", "9113 §5.5", "an unknown extension frame")
def _(peer):
    peer.send(frame(UNKNOWN, 0, 0, bytes(8)), ping())
    return expect.pong(peer)


@case("http2/5.5/2", "9113 §5.5", "an unknown extension frame within a header block")
def _(peer):
    peer.send(peer.open(done=False), frame(UNKNOWN, 0, 0, bytes(8)))
    return expect.connection_error(peer, PROTOCOL_ERROR)
