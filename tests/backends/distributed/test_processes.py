"""Workers that are processes: held to the conformance suite, killed in the middle of a call, and gone when the caller is."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: A script as users write one: it has no `if __name__ == "__main__"`. One cluster serves all of it, since a start is slow.
SCRIPT = """
import json, os, signal, time
from concurrent.futures import ThreadPoolExecutor

import psutil, torch
from qlifq.backends import DeviceNoise, get
from qlifq.backends.conformance import check
from qlifq.backends.distributed.connection import connect
from qlifq.circuits import RYSpike

options = {"inner": "reference", "noise": DeviceNoise(readout_p01=0.1), "block": 150}
here, there = get("distributed", scheduler="synchronous", **options), get("distributed", workers=2, **options)
report = check(there)
print(json.dumps({"report": str(report), "passed": report.passed}))

angles = torch.rand(1500, 2, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
def counts(backend):
    return backend.run(RYSpike(), angles, shots=20, seed=7).ones.tolist()

client = connect("local", 2, 60).client
workers = client.run(os.getpid)
with ThreadPoolExecutor() as pool:
    call = pool.submit(counts, there)
    while not (busy := [worker for worker, tasks in client.processing().items() if tasks]):
        time.sleep(0.002)
    os.kill(workers[busy[0]], signal.SIGKILL)
    in_time = not call.done()
    same = call.result() == counts(here)
gone = workers[busy[0]] not in client.run(os.getpid).values()
started = [process.pid for process in psutil.Process().children(recursive=True)]
print(json.dumps({"in time": in_time, "same": same, "gone": gone, "started": started}))
"""


@pytest.mark.skipif(not os.environ.get("QLIFQ_LONG_TESTS"), reason="a cluster of processes starts in `make long`")
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_two_processes_conform_and_a_killed_one_changes_no_count(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    conformance, killed = (json.loads(line) for line in done.stdout.splitlines())
    assert conformance["passed"], conformance["report"]
    started = killed.pop("started")
    assert killed == {"in time": True, "same": True, "gone": True}
    assert len(started) >= 3
    # Python's tracker of resources ends when it sees that the cluster has ended, which nobody waits for.
    end = time.monotonic() + 10
    while (left := [pid for pid in started if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left
    assert list((tmp_path / "tmp").iterdir()) == []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
