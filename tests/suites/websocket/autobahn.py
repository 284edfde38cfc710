"""The cases of the Autobahn suite (by kosoku, which runs Autobahn's own case files on Python 3), directly against an echo server
and through Cutover to the same one. Fails where a case is worse through Cutover than directly.

    autobahn.py [--cutover BINARY] [--cases GLOB ...] [--all] [--brief] [--server NAME] [--parallel N]

Without --all the four cases are left out that send 4 MiB in frames of 64 and 256 bytes: they take minutes, most of them in the runner.
--brief takes one case of each kind from the sections of large messages and of compression, which are two thirds of the suite's time, and
the first echo server alone.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from started import free_port, running  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SLOW = ["9.3.1", "9.3.2", "9.4.1", "9.4.2"]
BRIEF = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.5.1", "9.6.1", "9.7.1", "9.8.1", "10.*", "12.1.1", "12.2.1", "13.1.1", "13.7.1"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def config(folder, port, app):
    path = folder / "cutover.toml"
    path.write_text(
        f'workers = 2\nstate_dir = "{folder}/state"\n[admin]\naddress = "unix:{folder}/admin.sock"\n'
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\n[services.echo]\nprobe.type = "tcp"\nendpoints = ["127.0.0.1:{app}"]\n'
    )
    return path


def verdicts(port, folder, options):
    command = [sys.executable, os.path.join(os.path.dirname(sys.executable), "kosoku"), "-m", "fuzzingclient", "-o", str(folder), "-p", str(options.parallel)]
    for case in options.cases or (BRIEF if options.brief else []):
        command += ["-i", case]
    for case in [] if options.all else SLOW:
        command += ["-x", case]
    log = folder.with_suffix(".log")
    with open(log, "w") as out:
        subprocess.run([*command, f"127.0.0.1:{port}"], stdout=out, stderr=subprocess.STDOUT, timeout=options.limit)
    (cases,) = json.loads((folder / "index.json").read_text()).values()
    return {case: (found["behavior"], found["behaviorClose"]) for case, found in cases.items()}


def servers():
    yield "websockets", [sys.executable, str(HERE / "echo.py")], {}
    modules = os.environ.get("NODE_PATH")
    if modules:
        yield "ws", ["node", str(HERE / "echo.js")], {"env": os.environ}


def compare(name, command, environment, options):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        app, port = free_port(), free_port()
        with running(*command, str(app), port=app, stderr=subprocess.DEVNULL, **environment):
            with running(options.cutover, "run", "--config", str(config(folder, port, app)), port=port, log=folder / "cutover.log"):
                through = verdicts(port, folder / "through", options)
            direct = verdicts(app, folder / "direct", options)
    failed = [sum(behaviour not in GOOD for behaviour, _ in found.values()) for found in (direct, through)]
    worse = {case for case in direct if direct[case][0] in GOOD and through.get(case, ("MISSING", ""))[0] not in GOOD}
    other = {case for case in direct if direct[case] != through.get(case)} - worse
    print(f"{name}: {len(direct)} cases; failed: {failed[0]} directly, {failed[1]} through Cutover")
    for case in sorted(worse | other):
        print(f"  {'WORSE' if case in worse else 'other'} {case}: {direct[case]} directly, {through.get(case)} through Cutover")
    return len(worse)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--limit", type=int, default=900, help="seconds for one pass")
    parser.add_argument("--server", help="only this echo server")
    options = parser.parse_args()
    chosen = [server for server in servers() if options.server in (None, server[0])]
    chosen = chosen[:1] if options.brief else chosen
    sys.exit(min(1, sum([compare(*server, options) for server in chosen])))


main()
