"""The interoperability cases of gRPC (grpc/doc/interop-test-descriptions.md), with gRPC's own client and server, directly and through
Cutover, in clear and with TLS on both sides; then what Cutover itself must say in gRPC's words. Fails where a case fails through Cutover.

    interop.py [--cutover BINARY]

Left out: cacheable_unary (a draft that clients dropped), and the cases of credentials, load balancing and ORCA, which test a client
library with services of one cloud.
"""

import argparse
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import grpc

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tls")]
from compliance import make_certificate  # noqa: E402
from started import free_port, running  # noqa: E402

LARGE_REQUEST, LARGE_ANSWER = 271828, 314159
SIZES = [31415, 9, 2653, 58979]
REQUEST_SIZES = [27182, 8, 1828, 45904]
# How long a cancellation or a deadline may take to reach the server.
PROMPT = 0.1


class Calls:
    """The calls of the server, on one channel."""

    def __init__(self, where, ended=None):
        port, authority = where
        if authority:
            self.channel = grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority))
        else:
            self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.unary = self.channel.unary_unary("/test.Test/Unary")
        self.client_streaming = self.channel.stream_unary("/test.Test/ClientStreaming")
        self.server_streaming = self.channel.unary_stream("/test.Test/ServerStreaming")
        self.both_streaming = self.channel.stream_stream("/test.Test/BothStreaming")
        self.ended = ended


def wish(payload=0, **wishes):
    return json.dumps(wishes).encode() + b"\n" + b"y" * payload


def fails_with(code, call):
    try:
        answer = call()
        list(answer) if hasattr(answer, "__iter__") and not isinstance(answer, bytes) else answer
    except grpc.RpcError as error:
        assert error.code() is code, f"{error.code()}: {error.details()}"
        return error
    raise AssertionError(f"no error, where {code} is due")


# --- the cases ------------------------------------------------------------------------------------------------------------------


def empty_unary(calls):
    assert calls.unary(b"", timeout=5) == b""


def large_unary(calls):
    assert len(calls.unary(wish(LARGE_REQUEST, size=LARGE_ANSWER), timeout=5)) == LARGE_ANSWER


def client_compressed_unary(calls):
    assert len(calls.unary(wish(LARGE_REQUEST, size=LARGE_ANSWER), timeout=5, compression=grpc.Compression.Gzip)) == LARGE_ANSWER


def server_compressed_unary(calls):
    assert len(calls.unary(wish(LARGE_REQUEST, size=LARGE_ANSWER, compress=True), timeout=5)) == LARGE_ANSWER


def client_streaming(calls):
    assert calls.client_streaming((b"y" * size for size in REQUEST_SIZES), timeout=5) == str(sum(REQUEST_SIZES)).encode()


def client_compressed_streaming(calls):
    sent = (b"y" * size for size in REQUEST_SIZES)
    assert calls.client_streaming(sent, timeout=5, compression=grpc.Compression.Gzip) == str(sum(REQUEST_SIZES)).encode()


def server_streaming(calls):
    assert [len(part) for part in calls.server_streaming(json.dumps({"sizes": SIZES}).encode(), timeout=5)] == SIZES


def server_compressed_streaming(calls):
    asked = json.dumps({"sizes": SIZES, "compress": True}).encode()
    assert [len(part) for part in calls.server_streaming(asked, timeout=5)] == SIZES


def ping_pong(calls):
    asked = queue.Queue()
    answers = calls.both_streaming(iter(asked.get, None), timeout=5)
    for request, answer in zip(REQUEST_SIZES, SIZES, strict=True):
        asked.put(wish(request, size=answer))
        assert len(next(answers)) == answer
    asked.put(None)
    assert list(answers) == []


def empty_stream(calls):
    assert list(calls.both_streaming(iter([]), timeout=5)) == []


def custom_metadata(calls):
    sent = (("x-echo", "a value"), ("x-echo-bin", b"\x0a\x0b\x0a\x0b\x0a\x0b\x00\xff"))
    _, call = calls.unary.with_call(wish(size=1), timeout=5, metadata=sent)
    assert dict(call.initial_metadata())["x-echo"] == "a value"
    assert dict(call.trailing_metadata())["x-echo-bin"] == sent[1][1]
    stream = calls.both_streaming(iter([wish(size=1)]), timeout=5, metadata=sent)
    assert dict(stream.initial_metadata())["x-echo"] == "a value" and len(list(stream)) == 1
    assert dict(stream.trailing_metadata())["x-echo-bin"] == sent[1][1]


def status_code_and_message(calls):
    asked = wish(status=2, message="a test's status message", size=0)
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: calls.unary(asked, timeout=5))
    assert error.details() == "a test's status message"
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: calls.both_streaming(iter([asked]), timeout=5))
    assert error.details() == "a test's status message"


def special_status_message(calls):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: calls.unary(wish(status=2, message=text), timeout=5))
    assert error.details() == text


def unimplemented_method(calls):
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: calls.channel.unary_unary("/test.Test/Nothing")(b"", timeout=5))


def unimplemented_service(calls):
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: calls.channel.unary_unary("/test.Nobody/Unary")(b"", timeout=5))


def cancel_after_begin(calls):
    asked = queue.Queue()
    call = calls.client_streaming.future(iter(asked.get, None), timeout=5)
    call.cancel()
    asked.put(None)
    assert call.cancelled() and call.code() is grpc.StatusCode.CANCELLED


def cancel_after_first_response(calls):
    asked = queue.Queue()
    asked.put(wish(27182, size=31415))
    stream = calls.both_streaming(iter(asked.get, None), timeout=5, metadata=(("x-name", "first-response"),))
    assert len(next(stream)) == 31415
    stream.cancel()
    since = time.monotonic()
    fails_with(grpc.StatusCode.CANCELLED, lambda: stream)
    took = calls.ended("first-response") - since
    asked.put(None)
    assert took <= PROMPT, f"the server was told after {took * 1000:.0f} ms"


def timeout_on_sleeping_server(calls):
    asked = json.dumps({"sizes": [1, 1, 1], "pause": 2, "name": "deadline"}).encode()
    since = time.monotonic()
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: calls.server_streaming(asked, timeout=0.3))
    late = calls.ended("deadline") - since - 0.3
    assert late <= PROMPT, f"the server was told {late * 1000:.0f} ms after the deadline"


def health_check(calls):
    # HealthCheckResponse with status 1, SERVING, in protocol buffers.
    check = calls.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"\x0a\x09test.Test", timeout=5) == b"\x08\x01"


CASES = [
    empty_unary, large_unary, client_compressed_unary, server_compressed_unary, client_streaming, client_compressed_streaming,
    server_streaming, server_compressed_streaming, ping_pong, empty_stream, custom_metadata, status_code_and_message,
    special_status_message, unimplemented_method, unimplemented_service, cancel_after_begin, cancel_after_first_response,
    timeout_on_sleeping_server, health_check,
]


# --- what is asked of Cutover alone -----------------------------------------------------------------------------------------------


def nobody_is_ready(where):
    calls = Calls(where)
    fails_with(grpc.StatusCode.UNAVAILABLE, lambda: calls.unary(b"", timeout=5, metadata=(("x-service", "nobody"),)))


def the_server_is_too_slow(where):
    calls = Calls(where)
    asked = wish(sleep=3, size=1)
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: calls.unary(asked, timeout=5, metadata=(("x-service", "hasty"),)))


def the_request_is_too_large(where):
    calls = Calls(where)
    asked = wish(9000, size=1)
    fails_with(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: calls.unary(asked, timeout=5, metadata=(("x-service", "small"),)))


OWN = [nobody_is_ready, the_server_is_too_slow, the_request_is_too_large]


def config(folder, port, app, safe):
    """With TLS on both sides, or on neither."""
    closed, listener, service = free_port(), "", ""
    if safe:
        listener = f'tls.certificates = [{{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}]\n'
        service = f'tls = {{ ca = "{folder}/ca.pem", server_name = "localhost" }}\n'
    service += 'protocol = "h2"\nprobe = { type = "grpc", service = "test.Test", interval = "200ms" }\n'
    routes = "".join(f'[[routes]]\nheaders = {{ x-service = "{name}" }}\nservice = "{name}"\n' for name in ("nobody", "hasty", "small"))
    path = folder / "cutover.toml"
    path.write_text(
        f'workers = 2\nstate_dir = "{folder}/state"\nadmin.address = "unix:{folder}/admin.sock"\nstartup.wait = "3s"\n'
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\n{listener}{routes}[[routes]]\nservice = "app"\n'
        f'[services.app]\n{service}endpoints = ["127.0.0.1:{app}"]\n'
        f'[services.nobody]\n{service}fail_open = false\nendpoints = ["127.0.0.1:{closed}"]\n'
        f'[services.hasty]\n{service}timeouts.response = "500ms"\nendpoints = ["127.0.0.1:{app}"]\n'
        f'[services.small]\n{service}limits.body = "8KiB"\nendpoints = ["127.0.0.1:{app}"]\n'
    )
    return path


class Ended:
    """When the server saw which call end."""

    def __init__(self, output):
        self.seen, self.changed = {}, threading.Condition()
        threading.Thread(target=self.read, args=[output], daemon=True).start()

    def read(self, output):
        for line in output:
            with self.changed:
                self.seen[line.split()[1]] = time.monotonic()
                self.changed.notify_all()

    def __call__(self, name):
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.seen, 5), "the server was never told"
            return self.seen.pop(name)


def tried(case, *arguments):
    try:
        case(*arguments)
        return None
    except Exception as error:  # noqa: BLE001: whatever it is, the case has failed
        return f"{type(error).__name__}: {error}".splitlines()[0]


def met(cutover, folder, server, ended):
    """What fails with this server, and why."""
    failed, (app, authority), port = {}, server, free_port()
    path = config(folder, port, app, authority is not None)
    with running(cutover, "run", "--config", str(path), port=port, log=folder / "log"):
        for place, where in (("directly", app), ("through Cutover", port)):
            calls = Calls((where, authority), ended)
            for case in CASES:
                if why := tried(case, calls):
                    failed[f"{case.__name__} {place}"] = why
        for case in OWN:
            if why := tried(case, (port, authority)):
                failed[case.__name__] = why
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--brief", action="store_true", help="taken as by the other suites; this one is brief as it is")
    options = parser.parse_args()
    app, safe_app = free_port(), free_port()
    failed = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_certificate(folder)
        server = [sys.executable, str(HERE / "server.py"), str(app), str(safe_app), str(folder)]
        with running(*server, port=app, stdout=subprocess.PIPE, text=True) as process:
            ended = Ended(process.stdout)
            for how, port, authority in (("in clear", app, None), ("with TLS", safe_app, (folder / "ca.pem").read_bytes())):
                for what, why in met(options.cutover, folder, (port, authority), ended).items():
                    failed[f"{what}, {how}"] = why
    for case, why in failed.items():
        print(f"  FAILED {case}: {why}")
    print(f"gRPC: {len(CASES)} cases directly and through Cutover, {len(OWN)} of Cutover's own, in clear and with TLS: {len(failed)} failed")
    sys.exit(1 if failed else 0)


main()
