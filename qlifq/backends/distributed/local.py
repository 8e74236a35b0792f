"""A Dask cluster on this machine, in processes of its own: `python -m qlifq.backends.distributed.local WORKERS`.

It is a program, not a function of the caller's process, for three reasons. The script that uses it is not imported again, as
`multiprocessing` would do in every worker, so that no script needs `if __name__ == "__main__"`. It ends when its standard
input does, and so with its caller, however that ends. And Ctrl-C in a terminal does not reach it.
"""

import json
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import NamedTuple

from qlifq._packages import refuse_missing
from qlifq.errors import BackendError

__all__ = ["LocalCluster", "main", "start"]

#: How long a cluster may take to end by itself.
_END_SECONDS = 20.0


class LocalCluster(NamedTuple):
    """A cluster that runs: its process, the address of its scheduler, and the keys that open it."""

    process: "subprocess.Popen[str]"
    address: str
    keys: dict[str, str]

    def end(self) -> None:
        """End it and wait for it."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            # Its workers end with it.
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(workers: int, timeout_seconds: float) -> LocalCluster:
    """Start a cluster of single-threaded workers.

    Raises:
        BackendError: if it does not start in time.
    """
    refuse_missing("cryptography", feature="A local cluster", install="'qlifq[distributed]'")
    # The worker finds what this process finds, in that order; the current folder is searched if it is here.
    path = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main({workers})"
    process = subprocess.Popen(
        [sys.executable, "-c", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    watch = threading.Timer(timeout_seconds, process.kill)
    watch.start()
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
    except BaseException:
        process.kill()
        raise
    finally:
        watch.cancel()
    try:
        address, keys = json.loads(line)
    except ValueError:
        LocalCluster(process, "", {}).end()
        raise BackendError(
            f"The local cluster of {workers} workers must start within {timeout_seconds:g} s, but did not."
        ) from None
    return LocalCluster(process, address, keys)


def main(workers: int) -> None:
    """Run a cluster until standard input ends; its address and keys are the only line on standard output."""
    import dask
    import distributed
    from distributed.security import Security

    # Whoever reaches a scheduler can run code as its user: on a machine with several users, only who has the keys.
    security = Security.temporary()
    with (
        TemporaryDirectory(prefix="qlifq-cluster-", ignore_cleanup_errors=True) as folder,
        dask.config.set({"temporary-directory": folder}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=folder,
            memory_limit=0,
            security=security,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        keys = security.get_tls_config_for_role("client")
        print(json.dumps([cluster.scheduler_address, keys]), flush=True)
        sys.stdin.read()
