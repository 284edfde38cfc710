"""h2spec's cases of RFC 9113 §6 and §7: each type of frame, error codes."""

import expect
from case import case
from frames import (
    ACK, DATA, ENABLE_PUSH, END_HEADERS, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, LARGEST_WINDOW,
    MAX_FRAME_SIZE, PADDED, PING, PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, continuation, data, frame,
    goaway, ping, priority, rst_stream, settings, window_update,
)

DUMMY = ("x-dummy0", "x" * 4000)

# --- 6.1 to 6.4: DATA, HEADERS, PRIORITY, RST_STREAM -------------------------------------------------------------------------


@case("http2/6.1/1", "9113 §6.1", "DATA on stream 0")
def _(peer):
    peer.send(data(0))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.1/2", "9113 §6.1", "DATA on a stream that is not open")
def _(peer):
    peer.send(peer.open(1, "POST"), data(1))
    return expect.stream_error(peer, STREAM_CLOSED)


@case("http2/6.1/3", "9113 §6.1", "DATA with more padding than payload")
def _(peer):
    peer.send(peer.open(1, "POST", ("content-length", "4"), end=False), frame(DATA, PADDED | 0x1, 1, b"\x06test"))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.2/1", "9113 §6.2", "HEADERS without END_HEADERS, then PRIORITY")
def _(peer):
    peer.send(peer.open(end=False, done=False), frame(PRIORITY, 0, 1, priority(weight=256)), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.2/2", "9113 §6.2", "HEADERS without END_HEADERS, then HEADERS of another stream")
def _(peer):
    peer.send(peer.open(end=False, done=False), peer.open(3), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.2/3", "9113 §6.2", "HEADERS on stream 0")
def _(peer):
    peer.send(peer.open(0))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.2/4", "9113 §6.2", "HEADERS with more padding than payload")
def _(peer):
    block = peer.encode(peer.request())
    peer.send(frame(HEADERS, PADDED | END_HEADERS | 0x1, 1, bytes([len(block) + 2]) + block))
    return expect.stream_error(peer, PROTOCOL_ERROR)


@case("http2/6.3/1", "9113 §6.3", "PRIORITY on stream 0")
def _(peer):
    peer.send(frame(PRIORITY, 0, 0, priority(weight=256)))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.3/2", "9113 §6.3", "PRIORITY of 4 bytes")
def _(peer):
    peer.send(peer.open(), frame(PRIORITY, 0, 1, b"\x80\x00\x00\x01"))
    return expect.stream_error(peer, FRAME_SIZE_ERROR)


@case("http2/6.4/1", "9113 §6.4", "RST_STREAM on stream 0")
def _(peer):
    peer.send(rst_stream(0))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.4/2", "9113 §6.4", "RST_STREAM on an idle stream")
def _(peer):
    peer.send(rst_stream(1))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.4/3", "9113 §6.4", "RST_STREAM of 3 bytes")
def _(peer):
    peer.send(peer.open(), frame(RST_STREAM, 0, 1, bytes(3)))
    return expect.stream_error(peer, FRAME_SIZE_ERROR)


# --- 6.5: SETTINGS -----------------------------------------------------------------------------------------------------------


@case("http2/6.5/1", "9113 §6.5", "SETTINGS with ack and a payload")
def _(peer):
    peer.send(frame(SETTINGS, ACK, 0, b"\x00"))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


@case("http2/6.5/2", "9113 §6.5", "SETTINGS on stream 1")
def _(peer):
    peer.send(frame(SETTINGS, 0, 1, b"\x00\x03\x00\x00\x00\x64"))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.5/3", "9113 §6.5", "SETTINGS of 3 bytes")
def _(peer):
    peer.send(frame(SETTINGS, 0, 0, b"\x00\x03\x00"))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


def refused(number, name, value, code):
    """A value that a setting must not have."""

    @case(f"http2/6.5.2/{number}", "9113 §6.5.2", f"setting {name:#x} = {value}")
    def _(peer):
        peer.send(settings((name, value)))
        return expect.connection_error(peer, code)


refused(1, ENABLE_PUSH, 2, PROTOCOL_ERROR)
refused(2, INITIAL_WINDOW_SIZE, 2**31, FLOW_CONTROL_ERROR)
refused(3, MAX_FRAME_SIZE, 16383, PROTOCOL_ERROR)
refused(4, MAX_FRAME_SIZE, 2**24, PROTOCOL_ERROR)


@case("http2/6.5.2/5", "9113 §6.5.2", "an unknown setting")
def _(peer):
    peer.send(settings((0xFF, 1)), ping())
    return expect.pong(peer)


@case("http2/6.5.3/1", "9113 §6.5.3", "SETTINGS_INITIAL_WINDOW_SIZE twice in one frame: the last one counts", body=True)
def _(peer):
    peer.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
    expect.acked(peer)
    peer.send(peer.open())
    return expect.data(peer, 1)


@case("http2/6.5.3/2", "9113 §6.5.3", "SETTINGS")
def _(peer):
    peer.send(settings((ENABLE_PUSH, 0)))
    return expect.acked(peer)


# --- 6.7 and 6.8: PING, GOAWAY -----------------------------------------------------------------------------------------------


@case("http2/6.7/1", "9113 §6.7", "PING")
def _(peer):
    peer.send(ping(b"a ping.."))
    return expect.pong(peer, b"a ping..")


@case("http2/6.7/2", "9113 §6.7", "PING with ack: not answered")
def _(peer):
    peer.send(ping(b"invalid.", ack=True), ping(b"a ping.."))
    got = expect.kind(peer, PING)
    if not got.ack or got.payload != b"a ping..":
        raise expect.Unexpected("the second PING's ack", got)


@case("http2/6.7/3", "9113 §6.7", "PING on stream 1")
def _(peer):
    peer.send(frame(PING, 0, 1, bytes(8)))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.7/4", "9113 §6.7", "PING of 6 bytes")
def _(peer):
    peer.send(frame(PING, 0, 0, bytes(6)))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


@case("http2/6.8/1", "9113 §6.8", "GOAWAY on stream 1")
def _(peer):
    peer.send(frame(GOAWAY, 0, 1, bytes(8)))
    return expect.connection_error(peer, PROTOCOL_ERROR)


# --- 6.9: WINDOW_UPDATE ------------------------------------------------------------------------------------------------------


@case("http2/6.9/1", "9113 §6.9", "WINDOW_UPDATE of 0")
def _(peer):
    peer.send(window_update(0, 0))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.9/2", "9113 §6.9", "WINDOW_UPDATE of 0 on a stream")
def _(peer):
    peer.send(peer.open(end=False), window_update(1, 0))
    return expect.stream_error(peer, PROTOCOL_ERROR)


@case("http2/6.9/3", "9113 §6.9", "WINDOW_UPDATE of 3 bytes")
def _(peer):
    peer.send(frame(WINDOW_UPDATE, 0, 0, b"\x00\x00\x01"))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


@case("http2/6.9.1/1", "9113 §6.9.1", "an initial window of 1", body=True)
def _(peer):
    peer.send(settings((INITIAL_WINDOW_SIZE, 1)))
    expect.acked(peer)
    peer.send(peer.open())
    return expect.data(peer, 1)


@case("http2/6.9.1/2", "9113 §6.9.1", "WINDOW_UPDATE to more than 2^31-1")
def _(peer):
    peer.send(window_update(0, LARGEST_WINDOW), window_update(0, LARGEST_WINDOW))
    return expect.goaway(peer, FLOW_CONTROL_ERROR)


@case("http2/6.9.1/3", "9113 §6.9.1", "WINDOW_UPDATE to more than 2^31-1 on a stream")
def _(peer):
    peer.send(peer.open(end=False), window_update(1, LARGEST_WINDOW), window_update(1, LARGEST_WINDOW))
    return expect.rst_stream(peer, 1, FLOW_CONTROL_ERROR)


@case("http2/6.9.2/1", "9113 §6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE after a request", body=True)
def _(peer):
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)))
    expect.acked(peer)
    peer.send(peer.open(), settings((INITIAL_WINDOW_SIZE, 1)))
    expect.acked(peer)
    return expect.data(peer, 1)


@case("http2/6.9.2/2", "9113 §6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE that makes a window negative", body=True)
def _(peer):
    peer.send(settings((INITIAL_WINDOW_SIZE, 3)))
    expect.acked(peer)
    peer.send(peer.open())
    expect.kind(peer, DATA)
    peer.send(settings((INITIAL_WINDOW_SIZE, 2)))
    expect.acked(peer)
    peer.send(window_update(1, 2))
    return expect.data(peer, 1)


@case("http2/6.9.2/3", "9113 §6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE above the maximum")
def _(peer):
    peer.send(settings((INITIAL_WINDOW_SIZE, 2**31)))
    return expect.connection_error(peer, FLOW_CONTROL_ERROR)


# --- 6.10: CONTINUATION ------------------------------------------------------------------------------------------------------


@case("http2/6.10/1", "9113 §6.10", "CONTINUATION twice after HEADERS")
def _(peer):
    peer.send(peer.open(done=False), continuation(1, peer.encode([DUMMY]), done=False), continuation(1, peer.encode([DUMMY])))
    return expect.answer(peer)


@case("http2/6.10/2", "9113 §6.10", "CONTINUATION without END_HEADERS, then DATA")
def _(peer):
    peer.send(peer.open(1, "POST", end=False, done=False), continuation(1, peer.encode([DUMMY]), done=False), data(1))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.10/3", "9113 §6.10", "CONTINUATION on stream 0")
def _(peer):
    peer.send(peer.open(done=False), continuation(0, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.10/4", "9113 §6.10", "CONTINUATION after HEADERS with END_HEADERS")
def _(peer):
    peer.send(peer.open(), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.10/5", "9113 §6.10", "CONTINUATION after CONTINUATION with END_HEADERS")
def _(peer):
    peer.send(peer.open(done=False), continuation(1, peer.encode([DUMMY])), continuation(1, peer.encode([DUMMY])))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case("http2/6.10/6", "9113 §6.10", "CONTINUATION after DATA")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1), continuation(1, peer.encode([DUMMY]), done=False), continuation(1, b""))
    return expect.connection_error(peer, PROTOCOL_ERROR)


# --- 7: error codes ----------------------------------------------------------------------------------------------------------


@case("http2/7/1", "9113 §7", "GOAWAY with an unknown error code")
def _(peer):
    peer.send(goaway(0xFF))
    return expect.closed(peer)


@case("http2/7/2", "9113 §7", "RST_STREAM with an unknown error code")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), rst_stream(1, 0xFF), ping())
    return expect.pong(peer)
