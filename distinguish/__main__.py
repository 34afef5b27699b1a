"""Whether a hoster can tell audits from readers (`make distinguish`).

It runs audits, by the code that an attestor runs, and readers, npm's and ours, with the same two
habits: a whole download with the full window, or one chunk after the other. Half of the readers
read everything, half stop at any point. Then a classifier gets what the hoster saw of each,
and which were audits, as opened reports tell it.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import random
import sys
import time
from collections import Counter
from pathlib import Path

import structlog
import trio

from distinguish.classify import Verdict, tell_apart
from distinguish.features import PERIOD, Features, answers_of, features
from distinguish.sessions import Recorded, Setting, record

GROUPS = 25
SHOWN = 6


def main() -> None:
    """Run the sessions, or take recorded ones, and print how well they are told apart."""
    parser = argparse.ArgumentParser(prog="python -m distinguish")
    parser.add_argument("--sessions", type=int, default=400, help="audits, and as many readers")
    parser.add_argument("--at-once", type=int, default=Setting().at_once)
    parser.add_argument("--seed", type=int, default=None, help="of links, orders and lengths")
    parser.add_argument("--save", type=Path, help="keep the recorded sessions in this file")
    parser.add_argument("--load", type=Path, help="take the sessions of such a file of yours")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    setting = Setting(at_once=options.at_once)
    if options.load is not None:
        recorded: list[Recorded] = pickle.loads(options.load.read_bytes())  # noqa: S301
    else:
        recorded = _record(setting, options.sessions, options.seed)
    if options.save is not None:
        options.save.write_bytes(pickle.dumps(recorded))
    _report(recorded)


def _record(setting: Setting, sessions: int, seed: int | None) -> list[Recorded]:
    dice = random.Random(seed)
    kinds = ["audit"] * sessions + ["npm"] * (sessions // 2) + ["python"] * (sessions // 2)
    kinds += ["control"] * (sessions // 8) + ["shuffled"] * (sessions // 8)
    dice.shuffle(kinds)
    sys.stdout.write(
        f"{len(kinds)} sessions, {setting.at_once} at a time, of a feed of {setting.chunks} chunks "
        f"of {setting.size} bytes, over {len(setting.links)} links\n"
    )
    sys.stdout.flush()
    begun = time.monotonic()
    recorded, failures = trio.run(record, kinds, setting, dice)
    sys.stdout.write(f"{len(recorded)} recorded in {time.monotonic() - begun:.0f} s\n")
    for failure, times in Counter(failures).most_common(SHOWN):
        sys.stdout.write(f"  failed {times} times: {failure}\n")
    return recorded


def _report(recorded: list[Recorded]) -> None:
    turns = 1 + max(one.turn for one in recorded)
    seen: list[tuple[Recorded, int, Features, Features]] = [
        (one, one.turn * GROUPS // turns, *features(one.session)) for one in recorded
    ]

    def compare(
        title: str, audits: str, readers: tuple[str, ...], spacing: bool, *, explain: bool = False
    ) -> Verdict:
        chosen = [one for one in seen if one[0].kind in (audits, *readers)]
        rows = [said | (spaced if spacing else {}) for _, _, said, spaced in chosen]
        labels = [int(one.kind == audits) for one, _, _, _ in chosen]
        groups = [group for _, group, _, _ in chosen]
        verdict = tell_apart(rows, labels, groups, explain=explain)
        sys.stdout.write(
            f"{title:<58} AUC {verdict.auc:.3f} ({verdict.low:.3f} to {verdict.high:.3f}), "
            f"{sum(labels)} and {len(labels) - sum(labels)} sessions\n"
        )
        sys.stdout.flush()
        return verdict

    both = ("npm", "python")
    sys.stdout.write("Messages, order, sizes, lengths, receipts:\n")
    compare("  audits and readers", "audit", both, False)
    compare("  audits and npm readers", "audit", ("npm",), False)
    compare("  audits and our readers", "audit", ("python",), False)
    short = _share_too_short(recorded)
    sys.stdout.write(
        f"    {short:.1%} of the readers read less than an audit must: "
        f"who knows only that has an area of {0.5 + short / 2:.3f}\n"
    )
    sys.stdout.write("The same, and the times between them:\n")
    npm = compare("  audits and npm readers", "audit", ("npm",), True, explain=True)
    _telling(npm)
    compare("  audits and our readers", "audit", ("python",), True)
    sys.stdout.write("Controls:\n")
    stopping = "  audits that stop at a multiple of 100, and readers"
    control = compare(stopping, "control", both, True, explain=True)
    _telling(control)
    compare("  audits, and npm readers in a shuffled order", "audit", ("shuffled",), False)
    sys.stdout.write("All that a hoster sees:\n")
    verdict = compare("  audits and readers", "audit", both, True, explain=True)
    _telling(verdict)
    sys.stdout.write(f"AUC {verdict.auc:.3f} ({verdict.low:.3f} to {verdict.high:.3f})\n")


def _share_too_short(recorded: list[Recorded]) -> float:
    """Of the readers, who cannot be taken for audits."""
    readers = [one.session for one in recorded if one.kind in ("npm", "python")]
    return sum(answers_of(session) < PERIOD for session in readers) / max(1, len(readers))


def _telling(verdict: Verdict) -> None:
    told = ", ".join(f"{name} {by:+.3f}" for name, by in verdict.telling[:SHOWN])
    alone = ", ".join(f"{name} {area:.3f}" for name, area in verdict.alone[:SHOWN])
    sys.stdout.write(f"    most telling, by what the area loses without: {told}\n")
    sys.stdout.write(f"    and on their own: {alone}\n")


if __name__ == "__main__":
    main()
