"""Small Dask clusters whose workers are threads, which start at once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster


@contextmanager
def thread_cluster(workers: int, folder: Path) -> Iterator[Client]:
    """A client of a cluster whose scheduler and workers are threads of this process."""
    with (
        dask.config.set({"temporary-directory": str(folder)}),
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Client]]:
    """Clients of clusters with one, two and four workers."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("dask")
        yield {count: stack.enter_context(thread_cluster(count, folder)) for count in (1, 2, 4)}
