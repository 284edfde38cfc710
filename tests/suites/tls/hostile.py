"""What a client may do to a listener with TLS that it should not: hellos that are none, messages out of place, and floods of each kind of
record. tlsfuzzer asks the same of servers and is not to be had from PyPI; these cases are our own, on the record layer of tlslite-ng.

    hostile.py [--cutover BINARY] [--only NAME]

Each connection has to end, with an alert or by closing, long before any timeout; meanwhile and afterwards another client is served.
"""

import argparse
import contextlib
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import time

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, ContentType
from tlslite.errors import BaseTLSException
from tlslite.messages import Message

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from compliance import make_certificate  # noqa: E402
from started import free_port, running  # noqa: E402

# Of seconds: no case takes longer to end; of bytes: no flood is let go on for more.
PROMPT, FLOOD = 5, 4 << 20


def settings(version):
    chosen = HandshakeSettings()
    chosen.minVersion = chosen.maxVersion = version
    return chosen


def met(port, version):
    """A connection whose handshake is done, and its socket."""
    raw = socket.create_connection(("127.0.0.1", port), PROMPT)
    connection = TLSConnection(raw)
    connection.handshakeClientCert(serverName="localhost", settings=settings(version))
    return connection, raw


def put(connection, kind, payload):
    """Sends a record under the keys that are in force."""
    for _ in connection._recordLayer.sendRecord(Message(kind, bytearray(payload))):
        pass


def update(connection, kind):
    for _ in connection.send_keyupdate_request(kind):
        pass


def end_of(raw, read):
    """How the connection ends: the alert's name, or `closed`."""
    raw.settimeout(PROMPT)
    try:
        while data := read():
            pass
        return "closed"
    except TimeoutError:
        return None
    except BaseTLSException as error:
        alert = getattr(error, "description", None)
        return "closed" if alert is None else AlertDescription.toStr(alert)
    except OSError:
        return "closed"


def alert_of(raw):
    """The same of a connection that never came to keys."""

    def read():
        head = raw.recv(5, socket.MSG_WAITALL)
        if len(head) == 5:
            body = raw.recv(struct.unpack(">H", head[3:])[0], socket.MSG_WAITALL)
            if head[0] == ContentType.alert and len(body) == 2 and body[0] == 2:
                said.append(AlertDescription.toStr(body[1]))
        return head

    said = []
    end = end_of(raw, read)
    return said[0] if said and end else end


# --- after a handshake ------------------------------------------------------------------------------------------------------------


def flood(port, version, step, size=64):
    """The same again and again, until the connection ends or enough was borne."""
    connection, raw = met(port, version)
    ended = []
    reader = threading.Thread(target=lambda: ended.append(end_of(raw, lambda: connection.read(min=1, max=65536))), daemon=True)
    reader.start()
    sent = 0
    # tlslite forgets its keys as soon as the reader has seen the end, which may be in the middle of a step.
    with contextlib.suppress(OSError, BaseTLSException, AttributeError):
        while sent < FLOOD and not ended:
            step(connection)
            sent += size
    if sent >= FLOOD:
        raw.shutdown(socket.SHUT_WR)
    reader.join(PROMPT)
    return ended[0] if ended else None


def once(port, version, *records):
    connection, raw = met(port, version)
    with contextlib.suppress(OSError):
        for kind, payload in records:
            put(connection, kind, payload)
    return end_of(raw, lambda: connection.read(min=1, max=65536))


def in_clear(port, version, payload):
    connection, raw = met(port, version)
    raw.sendall(payload)
    return end_of(raw, lambda: connection.read(min=1, max=65536))


TLS12, TLS13 = (3, 3), (3, 4)
HS, CCS, ALERT, DATA = ContentType.handshake, ContentType.change_cipher_spec, ContentType.alert, ContentType.application_data


def message(kind, body=b""):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


AFTER = {
    "KeyUpdates that ask for one": lambda port: flood(port, TLS13, lambda c: update(c, 1)),
    "KeyUpdates that ask for none": lambda port: flood(port, TLS13, lambda c: update(c, 0)),
    "KeyUpdate of no meaning": lambda port: once(port, TLS13, (HS, message(24, b"\x02"))),
    "KeyUpdate of no length": lambda port: once(port, TLS13, (HS, message(24))),
    "two KeyUpdates in one record": lambda port: once(port, TLS13, (HS, message(24, b"\0") * 2)),
    "KeyUpdate under TLS 1.2": lambda port: once(port, TLS12, (HS, message(24, b"\1"))),
    "change_cipher_spec after the handshake": lambda port: flood(port, TLS13, lambda c: put(c, CCS, b"\1")),
    "change_cipher_spec in clear after the handshake": lambda port: in_clear(port, TLS13, b"\x14\3\3\0\1\1" * 1000),
    "change_cipher_spec under TLS 1.2": lambda port: once(port, TLS12, (CCS, b"\1")),
    "empty records": lambda port: flood(port, TLS13, lambda c: put(c, DATA, b"")),
    "empty records under TLS 1.2": lambda port: flood(port, TLS12, lambda c: put(c, DATA, b"")),
    "empty handshake records": lambda port: flood(port, TLS13, lambda c: put(c, HS, b"")),
    "warnings": lambda port: flood(port, TLS13, lambda c: put(c, ALERT, b"\1\x64")),
    "warnings under TLS 1.2": lambda port: flood(port, TLS12, lambda c: put(c, ALERT, b"\1\x64")),
    "user_canceled without end": lambda port: flood(port, TLS13, lambda c: put(c, ALERT, b"\1\x5a")),
    "an alert in two halves": lambda port: once(port, TLS13, (ALERT, b"\1"), (ALERT, b"\0")),
    "a long alert": lambda port: once(port, TLS13, (ALERT, b"\1\0" * 1000)),
    "a fatal alert": lambda port: once(port, TLS13, (ALERT, b"\2\x28")),
    "close_notify": lambda port: once(port, TLS13, (ALERT, b"\1\0")),
    "a record in clear": lambda port: in_clear(port, TLS13, b"\x17\3\3\0\x05hello"),
    "a record that is too long": lambda port: in_clear(port, TLS13, b"\x17\3\3" + struct.pack(">H", 16641) + bytes(16641)),
    "a record of 64 KiB under TLS 1.2": lambda port: in_clear(port, TLS12, b"\x17\3\3\xff\xff" + bytes(65535)),
    "records of no type": lambda port: in_clear(port, TLS13, b"\x63\3\3\0\1\0" * 1000),
    "a record without a type inside": lambda port: once(port, TLS13, (0, b"")),
    "heartbeats": lambda port: once(port, TLS13, (24, b"\1\x40\0")),
    "a hello again": lambda port: once(port, TLS13, (HS, hello())),
    "renegotiation under TLS 1.2": lambda port: flood(port, TLS12, lambda c: put(c, HS, hello(TLS12)), size=4096),
    "HelloRequest": lambda port: once(port, TLS12, (HS, message(0))),
    "a server's ticket": lambda port: once(port, TLS13, (HS, message(4, bytes(32)))),
    "Finished again": lambda port: once(port, TLS13, (HS, message(20, bytes(32)))),
    "a certificate that nobody asked for": lambda port: once(port, TLS13, (HS, message(11, b"\0\0\0\0"))),
    "a message of no type": lambda port: once(port, TLS13, (HS, message(99, b"x"))),
    "a message of 16 MiB": lambda port: flood(port, TLS13, lambda c: put(c, HS, b"\x18\xff\xff\xff" + bytes(16000)), size=16000),
}

# --- instead of a hello -----------------------------------------------------------------------------------------------------------


def hello(version=TLS13):
    """The message with which tlslite begins."""
    near, far = socket.socketpair()
    with near, far:
        far.settimeout(PROMPT)
        begin = lambda: TLSConnection(near).handshakeClientCert(serverName="localhost", settings=settings(version))  # noqa: E731

        def quietly():
            with contextlib.suppress(OSError, BaseTLSException):
                begin()

        client = threading.Thread(target=quietly, daemon=True)
        client.start()
        head = far.recv(5, socket.MSG_WAITALL)
        said = far.recv(struct.unpack(">H", head[3:])[0], socket.MSG_WAITALL)
        far.shutdown(socket.SHUT_RDWR)
        client.join(PROMPT)
    return said


def parts(said):
    """A hello taken apart: version and random, session, suites, compressions, extensions."""
    at, found = 4 + 34, [said[4:38]]
    for width in (1, 2, 1):
        length = int.from_bytes(said[at : at + width], "big")
        found.append(said[at + width : at + width + length])
        at += width + length
    extensions, at = [], at + 2
    while at < len(said):
        kind, length = struct.unpack(">HH", said[at : at + 4])
        extensions.append((kind, said[at + 4 : at + 4 + length]))
        at += 4 + length
    return [*found, extensions]


def together(start, session, suites, compressions, extensions):
    tail = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in extensions)
    body = start + bytes([len(session)]) + session + struct.pack(">H", len(suites)) + suites
    return message(1, body + bytes([len(compressions)]) + compressions + struct.pack(">H", len(tail)) + tail)


def changed(place, value):
    def change():
        found = parts(hello())
        found[place] = value(found[place]) if callable(value) else value
        return together(*found)

    return change


def extension(kind, body):
    """With this extension in place of its own; `None` leaves it out."""

    def change(extensions):
        kept = [(its, content) for its, content in extensions if its != kind]
        return kept if body is None else [*kept, (kind, body)]

    return changed(4, change)


def cut(length):
    """A hello that says it is whole and is not."""

    def change():
        body = hello()[4:][:length]
        return message(1, body)

    return change


SNI, GROUPS, SIGNATURES, ALPN, VERSIONS, SHARES, MODES, PSK, COOKIE = 0, 10, 13, 16, 43, 51, 45, 41, 44
HELLOS = {
    **{f"a hello of {length} bytes": cut(length) for length in (0, 1, 2, 33, 34, 35, 70, 71, 100, 150, 200)},
    "no suites": changed(2, b""),
    "half a suite": changed(2, b"\x13"),
    "suites that nobody knows": changed(2, b"\xfa\xfa" * 100),
    "compression": changed(3, b"\1"),
    "no compression at all": changed(3, b""),
    "a session of 33 bytes": changed(1, bytes(33)),
    "each extension twice": changed(4, lambda extensions: extensions * 2),
    "a thousand extensions that nobody knows": changed(4, lambda found: found + [(0x5A00 + nth, b"") for nth in range(1000)]),
    "one extension that nobody knows, a thousand times": changed(4, lambda found: found + [(0x5A5A, b"")] * 1000),
    "a name of 300 bytes": extension(SNI, struct.pack(">HBH", 303, 0, 300) + b"a" * 300),
    "a name of no bytes": extension(SNI, b"\0\3\0\0\0"),
    "two names": extension(SNI, b"\0\x08\0\0\1a\0\0\1b"),
    "a name that is none": extension(SNI, b"\0\6\0\0\3a\0b"),
    "no groups": extension(GROUPS, b"\0\0"),
    "groups that nobody knows": extension(GROUPS, b"\0\2\xfa\xfa"),
    "no signatures": extension(SIGNATURES, b"\0\0"),
    "signatures left out": extension(SIGNATURES, None),
    "signatures that nobody knows": extension(SIGNATURES, b"\0\2\xfa\xfa"),
    "no protocols": extension(ALPN, b"\0\0"),
    "a protocol of no bytes": extension(ALPN, b"\0\1\0"),
    "protocols that nobody knows": extension(ALPN, b"\0\3\2xy"),
    "versions that nobody knows": extension(VERSIONS, b"\2\x7f\x7f"),
    "TLS 1.1 at most": extension(VERSIONS, b"\2\3\2"),
    "no versions": extension(VERSIONS, b"\0"),
    "a share of no bytes": extension(SHARES, b"\0\4\0\x1d\0\0"),
    "a share of x25519 that is zero": extension(SHARES, b"\0\x24\0\x1d\0\x20" + bytes(32)),
    "a share of P-256 that is no point": extension(SHARES, b"\0\x45\0\x17\0\x41\4" + b"\1" * 64),
    "a thousand shares": extension(SHARES, struct.pack(">H", 5000) + b"\xfa\xfa\0\1\0" * 1000),
    "a ticket that nobody gave": extension(PSK, struct.pack(">HH", 38, 32) + bytes(32) + bytes(4) + struct.pack(">HB", 33, 32) + bytes(32)),
    "a ticket before the last extension": changed(4, lambda found: [(PSK, b"\0\0\0\0"), *found]),
    "a cookie that nobody gave": extension(COOKIE, b"\0\4abcd"),
}


def as_hello(make):
    def case(port):
        with socket.create_connection(("127.0.0.1", port), PROMPT) as raw:
            said = make()
            for start in range(0, len(said) or 1, 16384):
                piece = said[start : start + 16384]
                raw.sendall(b"\x16\3\1" + struct.pack(">H", len(piece)) + piece)
            # A hello that can be answered is: what follows then is no message of its client's.
            with contextlib.suppress(OSError):
                raw.recv(1, socket.MSG_PEEK)
                raw.sendall(b"\x16\3\3\0\4" + message(20))
            return alert_of(raw)

    return case


def in_small_pieces(port):
    """One byte a record is allowed (RFC 8446 §5.1), and comes to the same."""
    with socket.create_connection(("127.0.0.1", port), PROMPT) as raw:
        raw.sendall(b"".join(b"\x16\3\1\0\1" + bytes([byte]) for byte in hello()))
        raw.settimeout(PROMPT)
        answer = raw.recv(5, socket.MSG_WAITALL)
        return "answered" if answer and answer[0] in (ContentType.handshake, ContentType.alert) else None


# ----------------------------------------------------------------------------------------------------------------------------------


def healthy(port):
    connection, raw = met(port, TLS13)
    connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    answer = connection.read(min=12, max=4096)
    raw.close()
    return bytes(answer).startswith(b"HTTP/1.1 ")


def config(folder, port):
    path = folder / "cutover.toml"
    path.write_text(
        f'state_dir = "{folder}/state"\nadmin.address = "unix:{folder}/admin.sock"\nworkers = 1\n[[listeners]]\naddress = "127.0.0.1:{port}"\n'
        'tls.certificates = [{ cert = "cert.pem", key = "key.pem" }]\ntimeouts = { handshake = "1m", header = "1m", idle = "1m" }\n'
        '[services.app]\nprobe = false\nendpoints = ["127.0.0.1:1"]\n'
    )
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--brief", action="store_true", help="taken as by the other suites; this one is brief as it is")
    parser.add_argument("--only", default="")
    options, _ = parser.parse_known_args()
    cases = {**AFTER, **{name: as_hello(make) for name, make in HELLOS.items()}, "a hello in pieces of one byte": in_small_pieces}
    failed, port = [], free_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_certificate(folder)
        with running(options.cutover, "run", "--config", str(config(folder, port)), port=port, log=folder / "log") as process:
            for name, case in cases.items():
                if options.only not in name:
                    continue
                begun = time.monotonic()
                try:
                    end = case(port)
                except (OSError, BaseTLSException) as error:
                    end = f"closed ({type(error).__name__})"
                took = time.monotonic() - begun
                if end is None or not healthy(port) or process.poll() is not None:
                    failed.append(name)
                print(f"  {'FAILED ' if name in failed else ''}{name}: {end or 'goes on'} after {took:.1f} s", flush=True)
            panics = "panicked" in (folder / "log").read_text()
    print(f"TLS: {len(cases)} hostile cases, {len(failed)} failed{', and a panic' if panics else ''}")
    sys.exit(1 if failed or panics else 0)


main()
