"""A gRPC server that does what each call asks for. Messages are JSON, or plain bytes where only their size counts.

    server.py PORT PORT_WITH_TLS FOLDER        the certificate is in the folder

Writes `ended NAME` to its standard output when a call that was given a name is over.
"""

import json
import pathlib
import sys
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if "x-echo" in sent:
        context.send_initial_metadata([("x-echo", sent["x-echo"])])
    if "x-echo-bin" in sent:
        context.set_trailing_metadata([("x-echo-bin", sent["x-echo-bin"])])


def obey(wish, context):
    """What a message asks of the call as a whole."""
    if "sleep" in wish:
        time.sleep(wish["sleep"])
    if "status" in wish:
        context.abort(CODES[wish["status"]], wish["message"])
    if wish.get("compress"):
        context.set_compression(grpc.Compression.Gzip)


CODES = {code.value[0]: code for code in grpc.StatusCode}


def unary(request, context):
    echo_metadata(context)
    wish = json.loads(request[: request.index(b"\n")]) if request else {}
    obey(wish, context)
    return b"x" * wish.get("size", 0)


def client_streaming(requests, context):
    echo_metadata(context)
    return json.dumps(sum(len(request) for request in requests)).encode()


def server_streaming(request, context):
    wish = json.loads(request)
    obey(wish, context)
    watch(context, wish.get("name"))
    for size in wish["sizes"]:
        if wish.get("pause"):
            time.sleep(wish["pause"])
        yield b"x" * size


def both_streaming(requests, context):
    echo_metadata(context)
    watch(context, dict(context.invocation_metadata()).get("x-name"))
    for request in requests:
        wish = json.loads(request[: request.index(b"\n")])
        obey(wish, context)
        yield b"x" * wish["size"]


def watch(context, name):
    """Says when a call has ended that has a name."""
    if name:
        context.add_callback(lambda: print(f"ended {name}", flush=True))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ClientStreaming": grpc.stream_unary_rpc_method_handler(client_streaming),
        "ServerStreaming": grpc.unary_stream_rpc_method_handler(server_streaming),
        "BothStreaming": grpc.stream_stream_rpc_method_handler(both_streaming),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", methods)])
    checks = health.HealthServicer()
    checks.set("test.Test", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    clear, safe, folder = sys.argv[1:]
    read = lambda name: (pathlib.Path(folder) / name).read_bytes()  # noqa: E731
    credentials = grpc.ssl_server_credentials([(read("key.pem"), read("cert.pem"))])
    if not server.add_insecure_port(f"127.0.0.1:{clear}") or not server.add_secure_port(f"127.0.0.1:{safe}", credentials):
        sys.exit("a port is taken")
    server.start()
    server.wait_for_termination()


main()
