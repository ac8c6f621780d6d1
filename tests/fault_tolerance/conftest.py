"""Runs that go wrong are those of the engine's tests."""

from tests.engine.conftest import _plain_config_text, make_runner

__all__ = ['_plain_config_text', 'make_runner']
