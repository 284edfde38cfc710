"""h2spec's cases of RFC 9113 §8: malformed messages. The numbers are those of RFC 7540, as in h2spec."""

import expect
from case import case
from frames import END_HEADERS, PROTOCOL_ERROR, PUSH_PROMISE, data, frame, headers


@case("http2/8.1/1", "9113 §8.1", "HEADERS after DATA without END_STREAM")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1, end=False), headers(1, peer.encode([("x-test", "ok")]), end=False))
    return expect.stream_error(peer, PROTOCOL_ERROR)


def malformed(id, rfc, sends, change):
    """A request whose fields are changed."""

    @case(f"http2/{id}", f"9113 §{rfc}", sends)
    def _(peer):
        peer.send(headers(1, peer.encode(change(peer.request()))))
        return expect.stream_error(peer, PROTOCOL_ERROR)


def without(name):
    return lambda fields: [field for field in fields if field[0] != name]


def twice(name):
    return lambda fields: [*fields, *(field for field in fields if field[0] == name)]


malformed("8.1.2/1", "8.2.1", "a field name in upper case", lambda fields: [*fields, ("X-TEST", "ok")])
malformed("8.1.2.1/1", "8.3", "an unknown pseudo-header field", lambda fields: [*fields, (":test", "ok")])
malformed("8.1.2.1/2", "8.3", "a response's pseudo-header field", lambda fields: [*fields, (":status", "200")])


@case("http2/8.1.2.1/3", "9113 §8.1", "a pseudo-header field in trailers")
def _(peer):
    peer.send(peer.open(1, "POST", end=False), data(1, end=False), headers(1, peer.encode([(":method", "POST")]), end=False))
    return expect.stream_error(peer, PROTOCOL_ERROR)


malformed("8.1.2.1/4", "8.3", "a pseudo-header field after a field", lambda fields: [("x-test", "ok"), *fields])
malformed("8.1.2.2/1", "8.2.2", "connection: keep-alive", lambda fields: [*fields, ("connection", "keep-alive")])
malformed(
    "8.1.2.2/2", "8.2.2", "te other than trailers", lambda fields: [*fields, ("trailers", "test"), ("te", "trailers, deflate")]
)
malformed("8.1.2.3/1", "8.3.1", "an empty :path", lambda fields: [(name, "" if name == ":path" else value) for name, value in fields])
malformed("8.1.2.3/2", "8.3.1", "no :method", without(":method"))
malformed("8.1.2.3/3", "8.3.1", "no :scheme", without(":scheme"))
malformed("8.1.2.3/4", "8.3.1", "no :path", without(":path"))
malformed("8.1.2.3/5", "8.3.1", ":method twice", twice(":method"))
malformed("8.1.2.3/6", "8.3.1", ":scheme twice", twice(":scheme"))
malformed("8.1.2.3/7", "8.3.1", ":path twice", twice(":path"))


def lengths(number, sends, *parts):
    @case(f"http2/8.1.2.6/{number}", "9113 §8.1.1", sends)
    def _(peer):
        peer.send(peer.open(1, "POST", ("content-length", "1"), end=False), *parts)
        return expect.stream_error(peer, PROTOCOL_ERROR)


lengths(1, "content-length that is not DATA's", data(1))
lengths(2, "content-length that is not the sum of DATA's", data(1, end=False), data(1))


@case("http2/8.2/1", "9113 §8.4", "PUSH_PROMISE")
def _(peer):
    peer.send(frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x03" + peer.encode(peer.request())))
    return expect.connection_error(peer, PROTOCOL_ERROR)
