"""Numbers and lists as a sentence has them."""

from collections.abc import Iterable

__all__ = ["counted", "duration", "estimated", "listed"]


def counted(number: int, thing: str) -> str:
    """A number of things, such as "1 shot" or "1,024 shots"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time with the unit that suits it, such as "2.5 s" or "271 ns"."""
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def estimated(shots: int | None) -> str:
    """What a spike probability is that was measured in this many shots; None for one that is exact."""
    if shots is None:
        return "Spike probability"
    return "Outcome of one shot" if shots == 1 else f"Estimate from {shots:,} shots"


def listed(words: Iterable[str]) -> str:
    """Words with commas and an "and"."""
    items = list(words)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
