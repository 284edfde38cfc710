"""Processes that a suite starts: a port for each, waiting until it listens, and its end with the suite's."""

import contextlib
import pathlib
import socket
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, log=None, patience=20):
    """Until somebody listens on the port; ends the suite, with what the process has said to `log`, where it does not come to that."""
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    said = f":\n{pathlib.Path(log).read_text(errors='replace')}" if log else ""
    raise SystemExit(f"{process.args[0]} does not listen on {port}{said}")


@contextlib.contextmanager
def running(*command, port, log=None, **options):
    """A process that listens on the port, until the `with` ends; what it says goes to the file `log`."""
    with contextlib.ExitStack() as stack:
        if log:
            out = stack.enter_context(open(log, "w"))
            options.update(stdout=out, stderr=out)
        process = subprocess.Popen(command, **options)
        try:
            wait_for(port, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
