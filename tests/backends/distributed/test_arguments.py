"""Options that cannot be used are refused before anything starts."""

import threading

import pytest
from distributed import Client

from qlifq.backends import Backend, Call, Capabilities, Outcome, get
from qlifq.backends.registry import summary
from qlifq.circuits import RYSpike
from qlifq.errors import ArgumentError, DtypeError, QLIFError, UnsupportedError


class Held(Backend):
    """Holds what cannot be sent."""

    name = "held"
    capabilities = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def _execute(self, call: Call) -> Outcome:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner": 3}, DtypeError, "`inner` must be the name of a backend or a Backend, but is int"),
        ({"inner": "nobody"}, ArgumentError, "Unknown backend `nobody`"),
        ({"inner": "ibm", "device": "fake_manila"}, UnsupportedError, "runs where it is called, but is ibm, which sends"),
        ({"inner": "distributed"}, UnsupportedError, "runs where it is called, but is distributed, which sends"),
        ({"inner": Held()}, ArgumentError, "can be sent to a worker, but held cannot be pickled: .*lock"),
        ({"inner": get("analytic"), "noise": None}, UnsupportedError, "Option `noise` would be ignored: argument `inner` is a"),
        ({"shots": 3}, ArgumentError, "Backend aer has no option `shots`"),
        ({"workers": 0}, ArgumentError, "`workers` must be at least 1, but is 0"),
        ({"workers": 2, "scheduler": "synchronous"}, UnsupportedError, "`workers` would be ignored: a cluster that runs has"),
        ({"block": 0}, ArgumentError, "`block` must be at least 1, but is 0"),
        ({"timeout_seconds": 0}, ArgumentError, "`timeout_seconds` must be above 0, but is 0"),
        ({"scheduler": 8786}, DtypeError, "`scheduler` must be an address, a Client or None, but is int"),
        ({"scheduler": "10.0.0.1:8786"}, ArgumentError, "or an address such as tcp://10.0.0.1:8786, but is '10.0.0.1:8786'"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=message):
        get("distributed", **options)


def test_a_closed_client_is_refused(clients: dict[int, Client]) -> None:
    with Client(clients[1].scheduler.address, set_as_default=False) as client:
        pass
    with pytest.raises(ArgumentError, match="must be a connected, synchronous Client, but is closed"):
        get("distributed", scheduler=client)


def test_what_it_can_do_and_what_it_costs_are_those_of_the_inner_backend() -> None:
    inner = get("analytic")
    backend = get("distributed", inner=inner, scheduler="synchronous")
    can = backend.capabilities
    assert (can.exact, can.shots, can.noisy, can.differentiable, can.ideal) == (True, True, True, False, False)
    aer = get("distributed", scheduler="synchronous", noise="fake_manila")
    assert aer.plan(RYSpike(), 20, 7, shots=10) == get("aer", noise="fake_manila").plan(RYSpike(), 20, 7, shots=10)
    assert aer.description == "aer, noise of the snapshot fake_manila"
    assert summary("distributed").noisy == summary("aer").noisy
