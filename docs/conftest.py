"""The browser of the dashboard's tests, for the site."""

from tests.dashboard.conftest import browser

__all__ = ["browser"]
