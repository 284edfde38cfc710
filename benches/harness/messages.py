"""What a message of a WebSocket costs to pass on: 64 bytes there and back, on 64 tunnels."""
import os
import selectors
import socket
import time

from .figures import median, print_table

TUNNELS = 64
PAYLOAD = 64
# One masked text frame (RFC 6455 §5.2); the app sends it back as it is.
MESSAGE = bytes([0x81, 0x80 | PAYLOAD]) + b"mask" + os.urandom(PAYLOAD)
HELLO = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Messages:
    """What a run saw, in the words of a load generator."""

    def __init__(self, requests, seconds):
        self.requests, self.seconds = requests, seconds
        self.rate = requests / seconds


def run(stage, options):
    proxies = [stage.start(name) for name in options.proxies]
    tunnels = {proxy.name: [open_tunnel(proxy.port) for _ in range(TUNNELS)] for proxy in proxies}
    samples = {proxy.name: [] for proxy in proxies}
    for number in range(options.rounds + 1):
        for proxy in proxies:
            sample = proxy.sample(lambda: exchange(tunnels[proxy.name], options.secs if number else 1))
            if number:
                samples[proxy.name].append(sample)
    for tunnel in sum(tunnels.values(), []):
        tunnel.close()
    stage.stop(*proxies)
    print(f"\n## WebSocket messages of {PAYLOAD} bytes there and back, {TUNNELS} tunnels: medians of {options.rounds} rounds of {options.secs} s\n")
    cost = {name: median(rows, lambda s: s.cpu) for name, rows in samples.items()}
    print_table(["proxy", "messages/s", "CPU us/message and echo"], [[name, f"{median(rows, lambda s: s.load.rate):.0f}", f"{cost[name]:.2f}"] for name, rows in samples.items()])
    if "cutover" in cost and len(cost) > 1:
        print("\nCutover's CPU per message: " + ", ".join(f"{cost['cutover'] / cost[name]:.2f} x {name}" for name in cost if name != "cutover"))
    return []


def open_tunnel(port):
    tunnel = socket.create_connection(("127.0.0.1", port), 5)
    tunnel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tunnel.sendall(HELLO.encode())
    head = b""
    while b"\r\n\r\n" not in head:
        more = tunnel.recv(4096)
        if not more:
            raise SystemExit(f"no tunnel: {head!r}")
        head += more
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no tunnel: {head!r}")
    return tunnel


def exchange(tunnels, seconds):
    """Each tunnel sends its next message when the last one is back."""
    selector = selectors.EpollSelector()
    left = {}
    for tunnel in tunnels:
        selector.register(tunnel, selectors.EVENT_READ)
        left[tunnel] = len(MESSAGE)
        tunnel.sendall(MESSAGE)
    done, start = 0, time.monotonic()
    end = start + seconds
    while left:
        going_on = time.monotonic() < end
        for key, _ in selector.select(5):
            tunnel = key.fileobj
            read = len(tunnel.recv(4096))
            if not read:
                raise SystemExit("a tunnel was closed")
            left[tunnel] -= read
            if left[tunnel]:
                continue
            done += 1
            if going_on:
                left[tunnel] = len(MESSAGE)
                tunnel.sendall(MESSAGE)
            else:
                del left[tunnel]
    selector.close()
    return Messages(done, time.monotonic() - start)
