"""An app that counts, and Cutover in front of it with a listener in clear and one with TLS."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from started import free_port  # noqa: E402

CHUNK, CHUNKS = bytes(2**16), 256


class App:
    """Answers each request with a body: `/big` with 16 MiB, `/slow` after 300 ms. Counts requests, and the most at once."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def reset(self):
        with self.lock:
            self.requests = self.now = self.most = 0

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError, ValueError):
            stream = client.makefile("rb")
            while line := stream.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                fields = {}
                while (line := stream.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    fields[name.lower()] = value.strip()
                with self.lock:
                    self.requests += 1
                    self.now += 1
                    self.most = max(self.most, self.now)
                try:
                    if not self.answer(client, stream, method, path, fields):
                        return
                finally:
                    with self.lock:
                        self.now -= 1

    def answer(self, client, stream, method, path, fields):
        """Reads the body, answers; whether another request may come."""
        if fields.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                line = stream.readline()
                if not line:
                    return False
                if not (size := int(line.split(b";")[0], 16)):
                    break
                if len(stream.read(size + 2)) < size + 2:
                    return False
            while (line := stream.readline()).strip():
                pass
            if not line:
                return False
        else:
            size = int(fields.get("content-length", "0"))
            if len(stream.read(size)) < size:
                return False
        if path.startswith("/slow"):
            time.sleep(0.3)
        big, body = path.startswith("/big"), b"a body of some bytes\n"
        length = len(CHUNK) * CHUNKS if big else len(body)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n".encode()
        client.sendall(head if big or method == "HEAD" else head + body)
        if big and method != "HEAD":
            for _ in range(CHUNKS):
                client.sendall(CHUNK)
        return True


def certify(folder):
    """A certificate for localhost, signed by itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True, capture_output=True,
    )


class Proxy:
    """A Cutover of its own; `header` and `idle` are the listeners' timeouts, `body` is the service's."""

    def __init__(self, binary, folder, app, header="10s", idle="75s", body="60s"):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.clear, self.tls = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        if not (self.folder / "cert.pem").exists():
            certify(folder)
        times = f'timeouts = {{ header = "{header}", idle = "{idle}" }}\n'
        (self.folder / "cutover.toml").write_text(
            f'workers = 2\nstate_dir = "{folder}/state"\nshutdown = {{ lame_duck = "0ms", deadline = "1s" }}\n'
            f'[admin]\naddress = "unix:{folder}/admin.sock"\n'
            f'[[listeners]]\naddress = "127.0.0.1:{self.clear[1]}"\n{times}'
            f'[[listeners]]\naddress = "127.0.0.1:{self.tls[1]}"\n{times}'
            f'tls.certificates = [{{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}]\n'
            f'[services.app]\nendpoints = ["127.0.0.1:{app}"]\ntimeouts.idle = "{body}"\n'
        )

    def __enter__(self):
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [self.binary, "run", "--config", str(self.folder / "cutover.toml")], stdout=self.log, stderr=self.log
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            if self.answers():
                return self
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError("Cutover did not answer within 20 s")

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection(self.clear, 1) as probe:
            probe.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return probe.recv(100).startswith(b"HTTP/1.1 200")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    @property
    def alive(self):
        return self.process.poll() is None

    @property
    def resident(self):
        return resident(self.process.pid)


class Other:
    """A server that runs already."""

    def __init__(self, clear, pid):
        self.clear, self.pid = clear, pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def alive(self):
        return pathlib.Path(f"/proc/{self.pid}").exists()

    @property
    def resident(self):
        return resident(self.pid)


def resident(pid):
    """Bytes of memory."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
