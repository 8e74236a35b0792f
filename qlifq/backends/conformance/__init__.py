"""One call that holds any backend, those of other packages too, to what it declares."""

from qlifq.backends.conformance.report import Line, Report
from qlifq.backends.conformance.suite import check

__all__ = ["Line", "Report", "check"]
