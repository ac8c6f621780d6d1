"""Addresses and interfaces: those of the loopback are the same everywhere."""

import sys

import pytest

from mae.utils.network import address_towards, interface_of


def test_an_address():
    assert address_towards('127.0.0.1', 29500) == '127.0.0.1'
    assert address_towards('no-such-host.invalid', 29500) is None
    assert address_towards('::1', 29500) is None


@pytest.mark.skipif(sys.platform != 'linux', reason='asked by ioctl')
def test_an_interface():
    assert interface_of('127.0.0.1') == 'lo'
    assert interface_of('203.0.113.9') is None  # kept for examples, of nobody
