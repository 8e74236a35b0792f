"""Every fault between a call on a device and its result: what a second start makes of it, as a table with counts.

    python -m benchmarks.ibm_faults [--quick | --only WORDS]

Each case runs the real client of IBM's service against a service on the loopback device. A run of three steps meets one
fault, most of them in its second step, and is then started again. "jobs" counts what the service took in, "ran" what was paid
for; a job that failed after it ran is paid and cannot be avoided. "lost" counts results that the journal lacks in the end,
"unclear" starts that gave up without a sentence that says what to do, "trace" starts that ended in a traceback.
"""

import argparse
import logging
import sys

from tests.backends.ibm.every_fault import CASES
from tests.backends.ibm.faults import STEPS, run_case, undisturbed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="every fourth case")
    parser.add_argument("--only", default="", help="the cases whose name has these words")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only in case.name][:: 4 if arguments.quick else 1]
    logging.disable(logging.WARNING)
    expected = undisturbed()
    width = max(len(case.name) for case in cases)
    header = f"{'fault':<{width}}  first start  second start  same  jobs  ran  left  lost  unclear  trace"
    print(f"{header}\n{'─' * len(header)}", flush=True)
    seen = {}
    for case in cases:
        seen[case] = each = run_case(case, expected)
        same = "yes" if each.same else "NO"
        print(
            f"{case.name:<{width}}  {each.first:<11}  {each.second[:12]:<12}  {same:<4}  {each.submitted:4}  {each.paid:3}  "
            f"{each.alive:4}  {each.lost:4}  {each.unclear:7}  {each.tracebacks:5}",
            flush=True,
        )
        if not each.right(case):
            print(f"    {each.second}\n    {each.error}", flush=True)
    wrong = sum(not each.right(case) for case, each in seen.items())
    twice = sum(max(0, each.paid - case.jobs) for case, each in seen.items())
    unavoidable = sum(case.jobs - STEPS for case in cases)
    print(f"\n{len(cases)} faults · {len(cases) - wrong} end as an undisturbed run · {wrong} do not")
    print(
        f"jobs that failed after they ran, and were paid {unavoidable} · jobs of others that were cancelled "
        f"{sum(each.harmed for each in seen.values())}"
    )
    print(
        f"lost {sum(each.lost for each in seen.values())} · paid twice that could be avoided {twice} · "
        f"no way out {sum(each.no_way_out for each in seen.values())} · "
        f"unclear {sum(each.unclear for each in seen.values())} · "
        f"tracebacks {sum(each.tracebacks for each in seen.values())}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
