"""The admin API over its unix socket."""
import http.client
import json
import select
import socket


class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Admin:
    """One keep-alive connection; an answer that is not 2xx is an error that shows its body."""

    def __init__(self, path):
        self._connection = Connection(path)

    def send(self, method, path, body=None):
        if self._connection.sock and select.select([self], [], [], 0)[0]:
            self._connection.close()  # the other side has; `request` opens a new one
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {"content-type": "application/json"} if text else {})

    def receive(self):
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{answer.status}: {text}")
        return json.loads(text) if text else None

    def call(self, method, path, body=None):
        self.send(method, path, body)
        return self.receive()

    def send_weights(self, service, **weights):
        self.send("PUT", f"/v1/services/{service}/weights", {"weights": weights, "reason": "comparison"})

    def weights(self, service, **weights):
        self.send_weights(service, **weights)
        return self.receive()

    def fileno(self):
        """For `select`; there is a socket once something was sent."""
        return self._connection.sock.fileno()
