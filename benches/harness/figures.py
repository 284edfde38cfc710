"""The figures to reach, and the tables that are printed."""
import operator
import statistics
from dataclasses import dataclass


@dataclass
class Figure:
    """One row of the table of figures: what was measured against what is due and what is aimed at."""

    name: str
    measured: float
    bar: float
    aim: float
    unit: str = ""
    strict: bool = False
    note: str = ""

    @property
    def verdict(self):
        within = operator.lt if self.strict else operator.le
        if within(self.measured, self.aim):
            return "aim reached"
        return "reached" if within(self.measured, self.bar) else "NOT reached"

    def row(self):
        sign = "<" if self.strict else "<="
        return [self.name, f"{self.measured:.2f}{self.unit}", f"{sign} {self.bar:g}{self.unit}", f"{sign} {self.aim:g}{self.unit}", self.verdict, self.note]


def print_figures(figures):
    print("\n## Figures to reach\n")
    print_table(["figure", "measured", "at least", "aim", "verdict", "note"], [figure.row() for figure in figures])


def print_table(head, rows):
    """A Markdown table, padded so that it reads in a terminal too."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = (str(cell).ljust(width) if i == 0 else str(cell).rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        print("| " + " | ".join(cells) + " |", flush=True)


def median(samples, value):
    return statistics.median(value(sample) for sample in samples)


def cost_row(name, samples):
    """Medians over the rounds; errors are summed."""
    mid = lambda value: median(samples, value)  # noqa: E731
    return [
        name,
        f"{mid(lambda s: s.load.rate):.0f}",
        f"{mid(lambda s: s.cpu):.2f}",
        f"{mid(lambda s: s.user):.2f}",
        f"{mid(lambda s: s.cpu - s.user):.2f}",
        f"{mid(lambda s: s.busy) * 100:.0f} %",
        f"{mid(lambda s: s.load.p50):.0f}",
        f"{mid(lambda s: s.load.p99):.0f}",
        f"{mid(lambda s: s.rss):.1f}",
        sum(s.load.errors for s in samples),
    ]


COST_HEAD = ["proxy", "req/s", "CPU us/req", "user", "system", "busy", "p50 us", "p99 us", "RSS MiB", "errors"]
