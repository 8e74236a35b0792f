"""Commands that are killed while they run, and started again until they end, beside an undisturbed run: a table.

    python -m benchmarks.kills [--quick] [--kills 100] [--seed 0]

"kills" counts signals (SIGKILL, SIGINT, SIGTERM) that ended a start, "writing" those of them after which a marker lay there;
"blocked" counts commands that were refused when they were started again, "differ" those that left other results.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import torch

from tests.kills import COMMANDS, TRAIN, TRAINED, Trial, end, run_trial, start, undisturbed, warm

#: How often one trial is killed at most.
_MOST = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the kills")
    parser.add_argument("--kills", type=int, default=100, help="over all commands")
    parser.add_argument("--seed", type=int, default=0, help="the same seed chooses the same moments and signals")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warm()
    chance = random.Random(options.seed)
    target = -(-(options.kills // 10 if options.quick else options.kills) // len(COMMANDS))
    header = f"{'command':<28}  seconds  starts  kills  writing  ended  same  blocked  differ"
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "nothing").mkdir()
        if end(start((*TRAIN, f"../{TRAINED}"), root / "nothing")):
            raise RuntimeError((root / "log").read_text())
        print(f"{header}\n{'─' * len(header)}", flush=True)
        every: list[Trial] = []
        for number, command in enumerate(COMMANDS):
            expected = undisturbed(command, root / f"undisturbed-{number}")
            trials: list[Trial] = []
            while (left := target - sum(trial.kills for trial in trials)) > 0:
                folder = root / f"trial-{number}-{len(trials)}"
                trials.append(run_trial(command, expected, folder, chance, kills=min(left, chance.randint(1, _MOST))))
            every += trials
            print(_row(command.name, expected.seconds, trials), flush=True)
        print(_row("all", None, every))
    return int(not all(trial.same for trial in every))


def _row(name: str, seconds: float | None, trials: list[Trial]) -> str:
    ended = sum(trial.code == 0 for trial in trials)
    numbers = {
        6: sum(trial.kills for trial in trials) + len(trials),
        5: sum(trial.kills for trial in trials),
        7: sum(trial.writing for trial in trials),
    }
    counts = "  ".join(f"{value:{width}}" for width, value in numbers.items())
    same = sum(trial.same for trial in trials)
    took = "" if seconds is None else f"{seconds:.1f}"
    return f"{name:<28}  {took:>7}  {counts}  {ended:5}  {same:4}  {len(trials) - ended:7}  {ended - same:6}"


if __name__ == "__main__":
    sys.exit(main())
