"""How a backend is described to people: the one place for it.

A simulator's result must never pass for a device's, so wherever a number is shown this names its origin: the backend, the
device or the snapshot of one, the noise, and the shots.
"""

from collections.abc import Mapping

__all__ = ["describe_device", "describe_facts", "describe_shots", "describe_source", "is_snapshot"]


def is_snapshot(device: str) -> bool:
    """Whether a name is that of the snapshot of a device, which is simulated here, and not of a device."""
    return device.startswith("fake_")


def describe_device(device: str) -> str:
    """A device by what it is.

    Example:
        >>> describe_device("ibm_boston"), describe_device("fake_torino")
        ('device ibm_boston', 'snapshot fake_torino (no device)')
    """
    return f"snapshot {device} (no device)" if is_snapshot(device) else f"device {device}"


def describe_shots(shots: int | None) -> str:
    """How well a probability is known.

    Example:
        >>> describe_shots(None), describe_shots(1), describe_shots(4096)
        ('exact', '1 shot', '4,096 shots')
    """
    return "exact" if shots is None else f"{shots:,} shot{'' if shots == 1 else 's'}"


def describe_source(name: str, metadata: Mapping[str, object]) -> str:
    """A backend, and the device, snapshot or simulator and the noise that stand behind its answers.

    A perfect qubit has no noise, and none is named; where a backend reports neither a noise nor a device, that is said.

    Args:
        name: of the backend.
        metadata: what it reports of itself, as `Backend.facts`, the metadata of an outcome or the details of a calibration.

    Example:
        >>> describe_source("analytic", {"noise": "none"}), describe_source("aer", {"noise": "fake_torino"})
        ('analytic', 'aer, noise of the snapshot fake_torino')
        >>> describe_source("ibm", {"device": "fake_torino"}), describe_source("aer", {"noise": "t1=0.0001, t2=0.0002"})
        ('ibm, snapshot fake_torino (no device)', 'aer, noise t1=0.0001, t2=0.0002')
        >>> describe_source("twin", {"twin_of": "aer, noise of the snapshot fake_torino"})
        'twin of aer, noise of the snapshot fake_torino'
        >>> describe_source("pennylane", {"simulator": "default.mixed", "noise": "t1=0.0001, t2=0.0002"})
        'pennylane, simulator default.mixed, noise t1=0.0001, t2=0.0002'
    """
    words = describe_facts(metadata)
    if metadata.get("twin_of") is not None:
        return " ".join([name, *words])
    reported = any(metadata.get(fact) is not None for fact in ("device", "noise"))
    return ", ".join([name, *words, *([] if reported else ["noise not reported"])])


def describe_facts(metadata: Mapping[str, object]) -> list[str]:
    """What metadata report of the origin, the device or snapshot and the noise, a few words each; empty for a perfect qubit."""
    model, device, noise = (metadata.get(fact) for fact in ("twin_of", "device", "noise"))
    words = [] if model is None else [f"of {model}"]
    if metadata.get("simulator") is not None:
        words.append(f"simulator {metadata['simulator']}")
    if device is not None:
        words.append(describe_device(str(device)))
    if noise is not None and noise != "none":
        words.append(f"noise of the snapshot {noise}" if is_snapshot(str(noise)) else f"noise {noise}")
    return words
