"""Every fault between a call on a device and its result: what a second start makes of it, as a table with counts.

    python -m benchmarks.ibm_faults [--quick]

Each case runs the real client of IBM's service against a service on the loopback device. A run of three steps meets one
fault in its second step and is then started again. "jobs" counts what the service took in, "ran" what was paid for; a job
that failed after it ran is paid and cannot be avoided. "lost" counts results that the journal lacks in the end.
"""

import argparse
import logging
import sys

from tests.backends.ibm.faults import CASES, STEPS, run_case, undisturbed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="every fourth case")
    cases = CASES[::4] if parser.parse_args().quick else CASES
    logging.disable(logging.WARNING)
    expected = undisturbed()
    width = max(len(case.name) for case in cases)
    header = f"{'fault in the second of three steps':<{width}}  first start  second start  same  jobs  ran  left  lost"
    print(f"{header}\n{'─' * len(header)}", flush=True)
    wrong = twice = lost = 0
    for case in cases:
        seen = run_case(case, expected)
        same = "yes" if seen.same else "NO"
        print(
            f"{case.name:<{width}}  {seen.first:<11}  {seen.second[:12]:<12}  {same:<4}  {seen.submitted:4}  {seen.paid:3}  "
            f"{seen.alive:4}  {seen.lost:4}",
            flush=True,
        )
        wrong += not seen.right(case)
        twice += max(0, seen.paid - case.jobs)
        lost += seen.lost
    unavoidable = sum(case.jobs - STEPS for case in cases)
    print(f"\n{len(cases)} faults · {len(cases) - wrong} end as an undisturbed run · {wrong} do not")
    print(
        f"jobs paid twice that could be avoided {twice} · jobs that failed after they ran {unavoidable} · results lost {lost}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
