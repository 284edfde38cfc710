"""Reads what clients and app servers wrote down and does the sums."""
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from .clients import CLASSES
from .figures import print_table


@dataclass
class Line:
    ident: str
    kind: str
    outcome: str
    begun: float
    ended: float
    who: str


@dataclass
class Phase:
    name: str
    begun: float
    ended: float
    events: int


def read(paths):
    lines = []
    for path in paths:
        for text in Path(path).read_text().splitlines():
            ident, kind, outcome, begun, ended, who = text.split()
            lines.append(Line(ident, kind, outcome, float(begun), float(ended), who))
    return lines


@dataclass
class Sums:
    """`on_killed`: failed, and on the way at the moment an endpoint was killed. `refused`: by nobody, as no proxy ran.
    `unexplained`, `run_twice` and `never_run` have to be empty."""

    table: list
    unexplained: list
    on_killed: list
    refused: list
    run_twice: list
    never_run: list
    total: int


def add_up(lines, phases, site, logs):
    executed = Counter(line for log in logs for line in Path(log).read_text().splitlines())
    failed = [line for line in lines if line.outcome != "ok"]
    on_killed = [line for line in failed if line.outcome in ("5xx", "cut") and touches(line, site.kills)]
    refused = [line for line in failed if line.outcome == "refused" and touches(line, site.gaps)]
    explained = {line.ident for line in on_killed + refused}
    unexplained = [line for line in failed if line.ident not in explained]
    return Sums(
        table=[row(phase, lines, on_killed, refused, unexplained) for phase in phases],
        unexplained=unexplained,
        on_killed=on_killed,
        refused=refused,
        run_twice=[key for key, times in executed.items() if times > 1 and key.startswith("POST")],
        never_run=[line for line in lines if line.outcome == "ok" and not nginx(line) and not executed[f"{method(line)} {line.ident}"]],
        total=len(lines),
    )


def touches(line, spans):
    return any(line.begun <= ended and line.ended >= begun for begun, ended in spans)


def nginx(line):
    """nginx logs when a request has ended, so one that is killed right after an answer may not have."""
    return line.who.endswith("nginx")


def method(line):
    return "POST" if line.kind in ("post", "chunked") else "GET"


def row(phase, lines, *failures):
    """A request belongs to the phase in which it began."""
    ours, *failed = (sum(1 for line in group if phase.begun <= line.begun < phase.ended) for group in (lines, *failures))
    return [phase.name, phase.events, ours, f"{ours / max(0.001, phase.ended - phase.begun):.0f}", *failed]


HEAD = ["phase", "events", "requests", "req/s", "on a killed endpoint", "refused, no proxy", "failed otherwise"]


def report(sums, servers):
    print_table(HEAD, sums.table)
    print(f"\n{sums.total} requests, each with one line in the ledger")
    print("answered by: " + ", ".join(f"{name} {count}" for name, count in sorted(servers.items())))
    print(f"POSTs run twice: {len(sums.run_twice)}; answered without having been run: {len(sums.never_run)}")
    for title, lines in (("failed on a killed endpoint", sums.on_killed), ("failed otherwise", sums.unexplained)):
        classes = Counter(line.outcome for line in lines)
        print(f"{title}: {len(lines)}" + "".join(f", {name} {classes[name]}" for name in CLASSES if classes[name]))
    for line in sums.unexplained[:10]:
        print(f"    {line}")


def by_server(lines):
    counts = defaultdict(int)
    for line in lines:
        if line.outcome == "ok":
            counts[line.who] += 1
    return counts
