"""Run every benchmark, one after the other, each in a process of its own.

python -m benchmarks [--quick]
"""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the scripts beside this file; the exit status is that of the first which fails."""
    scripts = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    for script in scripts:
        print(f"\n{script}\n{'─' * len(script)}", flush=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *sys.argv[1:]], check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
