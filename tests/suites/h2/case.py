"""A case: its number in h2spec, the section that it comes from, what is sent."""

import collections

import expect
import frames

Case = collections.namedtuple("Case", "id rfc sends run shaken strict body")

CASES = []


def case(id, rfc, sends, shaken=True, strict=False, body=False):
    """Registers a function of a connection; `shaken`: past the handshake; `body`: needs an answer with a body of 5 bytes or more."""

    def register(run):
        CASES.append(Case(id, rfc, sends, run, shaken, strict, body))
        return run

    return register


def run(case, connect):
    """Returns (verdict, remark): passed, failed or skipped, and what came."""
    try:
        with connect() as peer:
            if case.shaken:
                peer.shake()
            return "passed", case.run(peer)
    except expect.Skipped as skipped:
        return "skipped", str(skipped)
    except (expect.Unexpected, frames.Closed, frames.Silent, OSError, AssertionError) as failure:
        return "failed", str(failure) or repr(failure)
