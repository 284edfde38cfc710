"""h2spec's generic cases: what any server must take."""

import expect
from case import case
from frames import (
    DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE, PADDED, PING, PREFACE, PRIORITIZED, PRIORITY, SETTINGS, continuation, data, frame, goaway, headers, ping, priority,
    rst_stream, settings, window_update,
)

# --- 1 and 2: starting, streams ----------------------------------------------------------------------------------------------


@case("generic/1/1", "9113 §3.4", "a client preface", shaken=False)
def _(peer):
    peer.send(PREFACE, settings((INITIAL_WINDOW_SIZE, 65535)))
    got = peer.receive()
    if got.kind != SETTINGS or got.ack:
        raise expect.Unexpected("SETTINGS first", got)


@case("generic/2/1", "9113 §5.1", "PRIORITY on an idle stream")
def _(peer):
    peer.send(frame(PRIORITY, 0, 1, priority(weight=256)), ping())
    return expect.pong(peer)


def half_closed(peer, *frames):
    """A request that cannot be answered in full, these frames, and a window of 1."""
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)), peer.open(), *frames, window_update(1, 1))
    expect.kind(peer, DATA)


@case("generic/2/2", "9113 §5.1", "WINDOW_UPDATE on a half-closed (remote) stream", body=True)
def _(peer):
    half_closed(peer)


@case("generic/2/3", "9113 §5.1", "PRIORITY on a half-closed (remote) stream", body=True)
def _(peer):
    half_closed(peer, frame(PRIORITY, 0, 1, priority(weight=256)))


@case("generic/2/4", "9113 §5.1", "RST_STREAM on a half-closed (remote) stream")
def _(peer):
    peer.send(peer.open(), rst_stream(1), ping())
    return expect.pong(peer)


@case("generic/2/5", "9113 §5.1", "PRIORITY on a closed stream")
def _(peer):
    peer.send(peer.open())
    expect.end(peer)
    peer.send(frame(PRIORITY, 0, 1, priority(weight=256)), ping())
    return expect.pong(peer)


# --- 3: each frame -----------------------------------------------------------------------------------------------------------


@case("generic/3.1/1", "9113 §6.1", "DATA")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1))
    return expect.answer(peer)


@case("generic/3.1/2", "9113 §6.1", "DATA twice")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1, end=False), data(1))
    return expect.answer(peer)


@case("generic/3.1/3", "9113 §6.1", "DATA with padding")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), frame(DATA, END_STREAM | PADDED, 1, b"\x06test" + bytes(6)))
    return expect.answer(peer)


@case("generic/3.2/1", "9113 §6.2", "HEADERS")
def _(peer):
    peer.send(peer.open())
    return expect.answer(peer)


@case("generic/3.2/2", "9113 §6.2", "HEADERS with padding")
def _(peer):
    peer.send(frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x08" + peer.encode(peer.request()) + bytes(8)))
    return expect.answer(peer)


@case("generic/3.2/3", "9113 §6.2", "HEADERS with a priority")
def _(peer):
    peer.send(frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority(weight=256) + peer.encode(peer.request())))
    return expect.answer(peer)


def prioritized(peer, stream, **fields):
    """PRIORITY for a stream, then a request on stream 1."""
    peer.send(frame(PRIORITY, 0, stream, priority(**fields)), peer.open())
    return expect.answer(peer)


@case("generic/3.3/1", "9113 §6.3", "PRIORITY with weight 1")
def _(peer):
    return prioritized(peer, 1, weight=1)


@case("generic/3.3/2", "9113 §6.3", "PRIORITY with weight 256")
def _(peer):
    return prioritized(peer, 1, weight=256)


@case("generic/3.3/3", "9113 §6.3", "PRIORITY that depends on a stream")
def _(peer):
    return prioritized(peer, 3, depends=1, weight=1)


@case("generic/3.3/4", "9113 §6.3", "PRIORITY that is exclusive")
def _(peer):
    return prioritized(peer, 1, weight=1, exclusive=True)


@case("generic/3.3/5", "9113 §6.3", "PRIORITY for an idle stream, then HEADERS on a lower one")
def _(peer):
    return prioritized(peer, 3, weight=256)


@case("generic/3.4/1", "9113 §6.4", "RST_STREAM")
def _(peer):
    peer.send(peer.open(end=False), rst_stream(1), ping())
    return expect.pong(peer)


@case("generic/3.5/1", "9113 §6.5", "SETTINGS with all that is defined")
def _(peer):
    peer.send(settings(
        (HEADER_TABLE_SIZE, 4096), (ENABLE_PUSH, 1), (MAX_CONCURRENT_STREAMS, 100), (INITIAL_WINDOW_SIZE, 65535), (MAX_FRAME_SIZE, 16384),
        (MAX_HEADER_LIST_SIZE, 100),
    ))
    return expect.acked(peer)


@case("generic/3.7/1", "9113 §6.7", "PING")
def _(peer):
    peer.send(ping(b"a ping.."))
    return expect.pong(peer, b"a ping..")


@case("generic/3.8/1", "9113 §6.8", "GOAWAY with nothing open")
def _(peer):
    peer.send(goaway(debug=b"bye"))
    return expect.closed(peer)


@case("generic/3.9/1", "9113 §6.9", "WINDOW_UPDATE on stream 0")
def _(peer):
    peer.send(window_update(0, 1), ping())
    expect.kind(peer, PING)


@case("generic/3.9/2", "9113 §6.9", "WINDOW_UPDATE on stream 1")
def _(peer):
    peer.send(peer.open(), window_update(1, 1))
    return expect.answer(peer)


def continued(peer, *cuts):
    """A request whose block is cut at these places."""
    block, last = peer.encode(peer.request()), cuts[-1]
    peer.send(headers(1, block[: cuts[0]], done=False))
    for start, stop in zip(cuts, cuts[1:]):
        peer.send(continuation(1, block[start:stop], done=False))
    peer.send(continuation(1, block[last:]))
    return expect.answer(peer)


@case("generic/3.10/1", "9113 §6.10", "CONTINUATION")
def _(peer):
    return continued(peer, 5)


@case("generic/3.10/2", "9113 §6.10", "CONTINUATION twice")
def _(peer):
    return continued(peer, 5, 10)


# --- 4: messages -------------------------------------------------------------------------------------------------------------


@case("generic/4/1", "9113 §8.1", "GET")
def _(peer):
    peer.send(peer.open())
    return expect.answer(peer)


@case("generic/4/2", "9113 §8.1", "HEAD")
def _(peer):
    peer.send(peer.open(1, "HEAD"))
    return expect.answer(peer)


@case("generic/4/3", "9113 §8.1", "POST")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1))
    return expect.answer(peer)


@case("generic/4/4", "9113 §8.1", "POST with trailers")
def _(peer):
    peer.send(peer.open(1, "POST", ("trailer", "x-test"), end=False), data(1, end=False), headers(1, peer.encode([("x-test", "ok")])))
    return expect.answer(peer)


# --- 5: HPACK ----------------------------------------------------------------------------------------------------------------

# The known name is user-agent, by its index 58: 7a, 0f 2b or 1f 2b.
TEST, TEST_HUFFMAN = b"\x06x-test", b"\x85\xf2\xb2\x4a\x84\xff"
VALUE, VALUE_HUFFMAN = b"\x06h2spec", b"\x84\x9c\x48\xac\xa4"


def field(number, sends, section, after=b"", before=b""):
    @case(f"generic/5/{number}", f"7541 §{section}", sends)
    def _(peer):
        peer.send(headers(1, before + peer.encode(peer.request()) + after))
        return expect.answer(peer)


field(1, "an indexed field", "6.1", b"\xba")
field(2, "a literal with indexing, known name, Huffman", "6.2.1", b"\x7a" + VALUE_HUFFMAN)
field(3, "a literal with indexing, known name", "6.2.1", b"\x7a" + VALUE)
field(4, "a literal with indexing, new name", "6.2.1", b"\x40" + TEST + VALUE)
field(5, "a literal with indexing, new name, Huffman", "6.2.1", b"\x40" + TEST_HUFFMAN + VALUE_HUFFMAN)
field(6, "a literal without indexing, known name", "6.2.2", b"\x0f\x2b" + VALUE)
field(7, "a literal without indexing, known name, Huffman", "6.2.2", b"\x0f\x2b" + VALUE_HUFFMAN)
field(8, "a literal without indexing, new name", "6.2.2", b"\x00" + TEST + VALUE)
field(9, "a literal without indexing, new name, Huffman", "6.2.2", b"\x00" + TEST_HUFFMAN + VALUE_HUFFMAN)
field(10, "a literal never indexed, known name", "6.2.3", b"\x1f\x2b" + VALUE)
field(11, "a literal never indexed, known name, Huffman", "6.2.3", b"\x1f\x2b" + VALUE_HUFFMAN)
field(12, "a literal never indexed, new name", "6.2.3", b"\x10" + TEST + VALUE)
field(13, "a literal never indexed, new name, Huffman", "6.2.3", b"\x10" + TEST_HUFFMAN + VALUE_HUFFMAN)
field(14, "a table size update to 0", "6.3", before=b"\x20")
field(15, "table size updates to 0 and 4096", "4.2", before=b"\x20\x3f\xe1\x1f")
