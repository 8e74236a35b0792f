"""All the cases there are."""

from tests.backends.ibm import faults, faults_jobs, faults_journal

__all__ = ["CASES"]

CASES = faults.CASES + faults_journal.CASES + faults_jobs.CASES
