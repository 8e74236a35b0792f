"""All the cases there are."""

from tests.backends.ibm import faults, faults_jobs, faults_journal, faults_service

__all__ = ["CASES"]

CASES = faults.CASES + faults_journal.CASES + faults_jobs.CASES + faults_service.CASES
