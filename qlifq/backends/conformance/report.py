"""What the conformance checks found, as data that prints itself."""

from dataclasses import dataclass

from qlifq.errors import ConformanceError

__all__ = ["Line", "Report"]


@dataclass(frozen=True, slots=True)
class Line:
    """One check and its verdict.

    Args:
        check: its name.
        result: "passed", "failed", "refused" (the backend does not run that circuit, and says so) or "not declared".
        detail: what was seen.
    """

    check: str
    result: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts on one backend; it prints as a table.

    Args:
        backend: what was tested, its description.
        lines: one per check.
    """

    backend: str
    lines: tuple[Line, ...]

    @property
    def failures(self) -> tuple[Line, ...]:
        """The checks that failed."""
        return tuple(line for line in self.lines if line.result == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    def raise_for_failure(self) -> None:
        """Do nothing where every check passed.

        Raises:
            ConformanceError: lists what failed.
        """
        if self.failures:
            listed = "".join(f"\n  {line.check}: {line.detail}" for line in self.failures)
            raise ConformanceError(
                f"Backend {self.backend} fails {len(self.failures)} of {len(self.lines)} conformance checks:{listed}"
            )

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"{len(self.failures)} failed"
        rows = [("check", "result", "detail"), *((line.check, line.result, line.detail) for line in self.lines)]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        table = [f"{name:<{first}}  {result:<{second}}  {detail}".rstrip() for name, result, detail in rows]
        return "\n".join([f"conformance of backend {self.backend}: {verdict}, {len(self.lines)} checks", *table])
