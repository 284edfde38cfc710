"""The machine: tools, cores, processes and what they cost. Knows nothing of proxies."""
import contextlib
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux", "node": "nodejs"}


def prepare():
    """Installs what is missing and lifts the limit on open files, for us and all we start."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if missing:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe():
    """One paragraph that says what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    tools = [first_line([tool, flag]) for tool, flag in (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v"), ("h2load", "--version"))]
    return "\n".join([f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}, Linux {platform.release()}", "; ".join(tools)])


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return re.split(r" \d{4}/\d\d/\d\d| \[epoll\]", (done.stdout.splitlines() or ["?"])[0])[0]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answers(port, process=None, seconds=20):
    """Waits until something accepts on the port; False when it does not in time or the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process and process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return True
        time.sleep(0.02)
    return False


def on_cores(cores, command):
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


class Processes:
    """What we have started; all of it is ended, by process group, when the `with` ends."""

    def __init__(self):
        self._running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(*self._running)

    def start(self, cores, command, log):
        with open(log, "ab") as out:
            process = subprocess.Popen(on_cores(cores, command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self._running.append(process)
        return process

    def start_piped(self, command):
        """One whose output somebody will read."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._running.append(process)
        return process

    def kill(self, process):
        """SIGKILL to a process and its children at once."""
        _signal_group(process, signal.SIGKILL)
        process.wait()

    def stop(self, *processes):
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            _signal_group(process, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()
            if process in self._running:
                self._running.remove(process)


def _signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@dataclass
class Cpu:
    """CPU time of a process and its children: seconds by the scheduler's own clock, and how much of it was in user mode."""

    seconds: float = 0.0
    user: float = 0.0

    def __sub__(self, earlier):
        return Cpu(self.seconds - earlier.seconds, self.user - earlier.user)

    @classmethod
    def of(cls, pid):
        exact = user = system = 0
        for task in _tasks(pid):
            with contextlib.suppress(OSError):
                exact += int((task / "schedstat").read_text().split()[0])
                ticks = (task / "stat").read_text().rsplit(")", 1)[1].split()
                user, system = user + int(ticks[11]), system + int(ticks[12])
        seconds = exact / 1e9
        return cls(seconds, seconds * user / max(1, user + system))


def _tasks(pid):
    """Every thread of a process and of all its descendants."""
    todo = [pid]
    while todo:
        for task in _list(f"/proc/{todo.pop()}/task"):
            yield task
            with contextlib.suppress(OSError):
                todo += (task / "children").read_text().split()


def _list(path):
    with contextlib.suppress(OSError):
        return list(Path(path).iterdir())
    return []


def rss_mib(pid):
    kib = 0
    for process in {task.parent.parent for task in _tasks(pid)}:
        with contextlib.suppress(OSError):
            status = (process / "status").read_text()
            kib += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return kib / 1024
