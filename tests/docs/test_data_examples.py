"""The examples about pictures, text and histories run, and learn what is there to learn."""

import re

import pytest

from tests.docs.test_example import run_example

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


def test_pictures() -> None:
    ran = run_example("--workers", "2", program="pictures")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert float(re.search(r"^right: (.*)$", ran.stdout, re.MULTILINE)[1]) > 0.8


def test_text() -> None:
    ran = run_example("--workers", "2", program="reviews")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert float(re.search(r"Accuracy': ([\d.]+)", ran.stdout)[1]) > 0.8
    assert ran.stdout.count("|") > 12


def test_histories_with_negatives() -> None:
    ran = run_example("--workers", "2", program="histories")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    taken, others = re.search(r"taken: (.*), of others: (.*)$", ran.stdout, re.MULTILINE).groups()
    assert float(taken) > float(others) + 1
