"""Runs h2spec's cases, and more, against a server: conformance.py HOST:PORT [--tls] [--cases 'http2/6.5*'] [--verbose]. Without HOST:PORT against
Cutover in front of an app, in clear (prior knowledge) and with TLS (ALPN): conformance.py [--cutover BINARY]."""

import argparse
import collections
import fnmatch
import sys
import tempfile

import cases_generic  # noqa: F401
import cases_hpack  # noqa: F401
import cases_http2_frames  # noqa: F401
import cases_http2_messages  # noqa: F401
import cases_http2_streams  # noqa: F401
import cases_more  # noqa: F401
import proxy
from case import CASES, run
from frames import Connection

ORDER = ("generic", "http2", "hpack", "more")

# What Cutover's HTTP library takes, and gone is before anything is passed on: told with every run, and no failure of it.
TAKEN = {
    "more/8.1/1": "pseudo-header fields in trailers are dropped",
    "more/8.1/2": "pseudo-header fields in trailers are dropped",
    "more/8.3.1/4": "a fragment is dropped",
}


def numbers(id):
    """Sorts 6.10 after 6.9."""
    book, section, number = id.split("/")
    return ORDER.index(book), [int(part) for part in section.split(".")], int(number)


def kind_of(case):
    return "more" if case.id.startswith("more/") else "strict" if case.strict else "h2spec's"


def conform(name, address, tls, options):
    """Runs all, prints what failed, returns how many did."""
    chosen = sorted((case for case in CASES if fnmatch.fnmatch(case.id, options.cases)), key=lambda case: numbers(case.id))
    passed, failed, skipped = collections.Counter(), 0, 0
    total = collections.Counter(kind_of(case) for case in chosen)
    for case in chosen:
        verdict, remark = run(case, lambda: Connection(address, tls, options.wait))
        passed[kind_of(case)] += verdict == "passed"
        if verdict == "failed" and case.id in TAKEN and name.startswith("h2 "):
            verdict, remark = "taken", TAKEN[case.id]
        failed += verdict == "failed"
        skipped += verdict == "skipped"
        if verdict == "failed":
            print(f"  FAILED {case.id} (RFC {case.rfc}), {case.sends}: {remark}", flush=True)
        elif verdict in ("skipped", "taken") or options.verbose:
            print(f"  {verdict} {case.id} (RFC {case.rfc}), {case.sends}" + (f": {remark}" if remark else ""), flush=True)
    counts = ", ".join(f"{passed[kind]}/{total[kind]} {kind}" for kind in ("h2spec's", "strict", "more") if total[kind])
    print(f"{name}: {counts} passed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address", nargs="?")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--cases", default="*")
    parser.add_argument("--wait", type=float, default=3.0, help="seconds for each thing that must come")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--brief", action="store_true", help="with TLS only the generic cases")
    options = parser.parse_args()
    if options.address:
        host, port = options.address.rsplit(":", 1)
        sys.exit(bool(conform(options.address, (host, int(port)), options.tls, options)))
    failed = 0
    with tempfile.TemporaryDirectory() as folder, proxy.App() as app, proxy.Proxy(options.cutover, folder, app.port) as cutover:
        failed += conform("h2 in clear", cutover.clear, False, options)
        if options.brief:
            options.cases = "generic/*"
        failed += conform("h2 with TLS", cutover.tls, True, options)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
