"""The campaign's command line: ``nox -s campaign -- --seeds 10000``, ``nox -s campaign -- --part a --seed 17``."""

from __future__ import annotations

import argparse
import sys
import time

from .runner import PARTS, plan_jobs, processors, run_many, run_one, show


def main() -> int:
    """Read the command line, run, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="campaign", description="Random faults, by seed; an oracle looks at both ends."
    )
    parser.add_argument("--seeds", type=int, default=400, help="how many of part a; the others in proportion")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this part; --seeds is its number")
    parser.add_argument("--seed", type=int, help="only this seed, of one part")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--jobs", type=int, default=processors(), help="how many processes")
    arguments = parser.parse_args()
    parts = arguments.part or list(PARTS)
    if arguments.seed is not None:
        is_good = True
        for part in parts:
            findings = run_one(part, arguments.seed)
            show(findings, trace=arguments.trace)
            is_good &= not findings.problems
        return int(not is_good)
    began = time.monotonic()
    planned = plan_jobs(parts, arguments.seeds, arguments.first)
    report = run_many(planned, arguments.jobs, arguments.seconds)
    report.print(parts)
    number, seconds = sum(report.bad.values()), time.monotonic() - began
    print(f"\n{report.runs} runs of {len(planned)}, {number} bad, after {seconds:.0f} seconds")
    return int(number > 0)


if __name__ == "__main__":
    sys.exit(main())
