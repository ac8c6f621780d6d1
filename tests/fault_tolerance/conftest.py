"""Runs that go wrong are those of the engine's tests."""

import signal

import pytest

from tests.engine.conftest import make_runner

__all__ = ['make_runner']


@pytest.fixture(autouse=True)
def _sigint_is_handled():
    """Ctrl-C reaches a test and its children, even if pytest runs as a background job.

    A shell starts those with SIGINT ignored, and what is ignored stays so.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
