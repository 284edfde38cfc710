"""What h2spec does not ask: more of RFC 9113's malformed messages, of which a proxy would make another request, and of its decoding errors. The
numbers are RFC 9113's sections."""

import expect
from case import case
from cases_hpack import number
from frames import COMPRESSION_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, data, frame, goaway, headers, settings


def literal(name, value):
    """A field without indexing and without Huffman coding, of any bytes."""
    return b"\x00" + number(0, 7, len(name)) + name + number(0, 7, len(value)) + value


def counter():
    counts = {}

    def next_of(section):
        counts[section] = counts.get(section, 0) + 1
        return f"more/{section}/{counts[section]}"

    return next_of


following = counter()


# --- 8.2.1: names and values -------------------------------------------------------------------------------------------------


def field(section, sends, name, value):
    @case(following(section), f"9113 §{section}", sends)
    def _(peer):
        peer.send(headers(1, peer.encode(peer.request()) + literal(name, value)))
        return expect.refused(peer)


for byte, called in ((b"\r", "CR"), (b"\n", "LF"), (b"\0", "NUL"), (b"\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n", "a request")):
    field("8.2.1", f"a value with {called} in it", b"x-test", b"a" + byte + b"b")
field("8.2.1", "a value that begins with a space", b"x-test", b" a")
field("8.2.1", "a value that ends with a tab", b"x-test", b"a\t")
field("8.2.1", "an empty name", b"", b"a")
for byte, called in ((b" ", "a space"), (b":", "a colon"), (b"\r\n", "CR LF"), (b"\0", "NUL"), (b"\x7f", "DEL"), (b"\xc3\xa4", "bytes above 7f")):
    field("8.2.1", f"a name with {called} in it", b"x" + byte + b"y", b"a")


# --- 8.2.2: fields of a connection -------------------------------------------------------------------------------------------

for name, value in (
    (b"transfer-encoding", b"chunked"), (b"keep-alive", b"timeout=5"), (b"upgrade", b"websocket"), (b"proxy-connection", b"keep-alive"),
    (b"te", b"gzip"),
):
    field("8.2.2", f"{name.decode()}: {value.decode()}", name, value)


@case(following("8.2.2"), "9113 §8.2.2", "te: trailers, which is allowed")
def _(peer):
    peer.send(peer.open(1, "GET", ("te", "trailers")))
    return expect.answer(peer)


# --- 8.1.1: lengths ----------------------------------------------------------------------------------------------------------


def length(sends, *values, body=b"test", end=False):
    """A POST with these lengths."""

    @case(following("8.1.1"), "9113 §8.1.1", sends)
    def _(peer):
        peer.send(peer.open(1, "POST", *(("content-length", value) for value in values), end=end))
        if not end:
            peer.send(data(1, body))
        return expect.refused(peer)


length("content-length twice, different", "4", "5")
length("content-length with a sign", "+4")
length("content-length of two values", "4, 5")
length("content-length that is no number", "4x")
length("content-length above DATA's", "5")
length("content-length with END_STREAM on HEADERS", "4", end=True)


@case(following("8.1.1"), "9113 §8.1.1", "content-length of 0 with END_STREAM on HEADERS, which is right")
def _(peer):
    peer.send(peer.open(1, "POST", ("content-length", "0")))
    return expect.answer(peer)


# --- 8.1: trailers -----------------------------------------------------------------------------------------------------------


def trailers(sends, *fields):
    @case(following("8.1"), "9113 §8.1", sends)
    def _(peer):
        peer.send(peer.open(1, "POST", end=False), data(1, end=False), headers(1, b"".join(literal(*one) for one in fields)))
        return expect.refused(peer)


trailers("trailers with :method", (b":method", b"POST"))
trailers("trailers with a field after :path", (b":path", b"/"), (b"x-test", b"a"))
trailers("trailers with a name in upper case", (b"X-Test", b"a"))
trailers("trailers with transfer-encoding", (b"transfer-encoding", b"chunked"))
trailers("trailers with CR LF in a value", (b"x-test", b"a\r\nb"))


# --- 8.3.1 and 8.5: pseudo-header fields -------------------------------------------------------------------------------------


def pseudo(section, sends, *more, **fields):
    """A request with some of these pseudo-header fields in place of its own; None takes one away."""

    @case(following(section), f"9113 §{section}", sends)
    def _(peer):
        own = {name[1:]: value for name, value in peer.request()}
        own.update(fields)
        block = b"".join(literal(f":{name}".encode(), value.encode()) for name, value in own.items() if value is not None)
        peer.send(headers(1, block + b"".join(literal(*one) for one in more)))
        return expect.refused(peer)


pseudo("8.3.1", "a :path without /", path="x")
pseudo("8.3.1", "a :path with a space", path="/a b")
pseudo("8.3.1", "a :path with CR LF", path="/ HTTP/1.1\r\nx: y\r\n\r\n")
pseudo("8.3.1", "a :path with a fragment", path="/a#b")
pseudo("8.3.1", "a :path of * with GET", path="*")
pseudo("8.3.1", "a :method with a request line in it", method="GET / HTTP/1.1\r\nx:")
pseudo("8.3.1", "an empty :method", method="")
pseudo("8.3.1", "a :scheme with more than a scheme", scheme="http://x/")
pseudo("8.3.1", "an :authority with user information", authority="u@a")
pseudo("8.3.1", "an :authority with CR LF", authority="a\r\nx: y")
pseudo("8.3.1", "an :authority with a path", authority="a/b")
pseudo("8.3.1", "an empty :authority and no host", authority="")
pseudo("8.3.1", "an :authority and two hosts", (b"host", b"a"), (b"host", b"b"), authority="a")
pseudo("8.5", "CONNECT", method="CONNECT", scheme=None, path=None)
pseudo("8.5", "CONNECT with :path and :scheme", method="CONNECT")
pseudo("8.5", ":protocol with GET", protocol="websocket")


# --- frames and connections --------------------------------------------------------------------------------------------------


@case(following("4.2"), "9113 §4.2", "a frame of an unknown type, larger than is allowed")
def _(peer):
    peer.send(frame(0x16, 0, 0, bytes(peer.largest_frame + 1)))
    return expect.connection_error(peer, FRAME_SIZE_ERROR)


@case(following("5.1.1"), "9113 §5.1.1", "the last stream identifier of all, then a lower one")
def _(peer):
    peer.send(peer.open(2**31 - 1))
    expect.answer(peer, 2**31 - 1)
    peer.send(peer.open(2**31 - 3))
    return expect.connection_error(peer, PROTOCOL_ERROR)


@case(following("6.5"), "9113 §6.5", "SETTINGS with 30 unknown ones")
def _(peer):
    peer.send(settings(*((0x1000 + at, at) for at in range(30))))
    return expect.acked(peer)


@case(following("6.8"), "9113 §6.8", "GOAWAY after a request: it is answered to its end, then closed")
def _(peer):
    peer.send(peer.open(), goaway())
    expect.end(peer)
    return expect.closed(peer)


@case(following("3.1"), "9113 §3.1", "Upgrade: h2c of HTTP/1.1: no switch", shaken=False)
def _(peer):
    if peer.tls:
        raise expect.Skipped("with TLS it is no HTTP/1.1")
    peer.socket.sendall(
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    got = peer.socket.recv(12)
    if not got.startswith(b"HTTP/1.1 2"):
        raise expect.Unexpected("HTTP/1.1 200", got)


# --- decoding ----------------------------------------------------------------------------------------------------------------


def undecodable(sends, after):
    @case(following("4.3"), "9113 §4.3", sends)
    def _(peer):
        peer.send(headers(1, peer.encode(peer.request()) + after))
        return expect.connection_error(peer, COMPRESSION_ERROR)


undecodable("an integer above 2^64", b"\xff" + b"\xff" * 12 + b"\x01")
undecodable("an integer of 64 bytes of nothing", b"\xff" + b"\x80" * 64 + b"\x01")
undecodable("a string longer than its block", b"\x00\x06x-test" + number(0, 7, 5000) + b"a")
undecodable("a string of 2^32 bytes", b"\x00\x06x-test" + number(0, 7, 2**32) + b"a")
undecodable("a name without a value", b"\x00\x06x-test")
