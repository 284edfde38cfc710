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
    """`excused`: failed while an endpoint was being killed, and on the way at that moment. `unexplained` has to be empty."""

    table: list
    unexplained: list
    excused: list
    run_twice: list
    never_run: list
    total: int


def add_up(lines, phases, kills, logs):
    executed = Counter(line for log in logs for line in Path(log).read_text().splitlines())
    failed = [line for line in lines if line.outcome != "ok"]
    excused = [line for line in failed if line.outcome in ("5xx", "cut") and in_flight_at_a_kill(line, kills)]
    known = {id(line) for line in excused}
    return Sums(
        table=[row(phase, lines, known) for phase in phases],
        unexplained=[line for line in failed if id(line) not in known],
        excused=excused,
        run_twice=[key for key, times in executed.items() if times > 1 and key.startswith("POST")],
        never_run=[line for line in lines if line.outcome == "ok" and not nginx(line) and not executed[f"{method(line)} {line.ident}"]],
        total=len(lines),
    )


def in_flight_at_a_kill(line, kills):
    return any(line.begun <= ended and line.ended >= begun for begun, ended in kills)


def nginx(line):
    """nginx logs when a request has ended, so one that is killed right after an answer may not have."""
    return line.who.endswith("nginx")


def method(line):
    return "POST" if line.kind in ("post", "chunked") else "GET"


def row(phase, lines, excused):
    """A request belongs to the phase in which it began."""
    ours = [line for line in lines if phase.begun <= line.begun < phase.ended]
    counts = Counter(line.outcome for line in ours)
    on_killed = sum(1 for line in ours if id(line) in excused)
    failed = len(ours) - counts["ok"]
    rate = len(ours) / max(0.001, phase.ended - phase.begun)
    return [phase.name, phase.events, len(ours), f"{rate:.0f}", on_killed, failed - on_killed]


HEAD = ["phase", "events", "requests", "req/s", "failed, in flight on a killed endpoint", "failed otherwise"]


def report(sums, servers):
    print_table(HEAD, sums.table)
    print(f"\n{sums.total} requests, each with one line in the ledger")
    print("answered by: " + ", ".join(f"{name} {count}" for name, count in sorted(servers.items())))
    print(f"POSTs run twice: {len(sums.run_twice)}; answered without having been run: {len(sums.never_run)}")
    for title, lines in (("in flight on a killed endpoint", sums.excused), ("failed otherwise", sums.unexplained)):
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
