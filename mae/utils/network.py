"""Addresses and network interfaces of this machine, as its system chooses them."""

import socket
import struct
import sys
from contextlib import suppress

_SIOCGIFADDR = 0x8915  # of Linux's ioctl


def address_towards(host: str, port: int) -> str | None:
    """Address of this machine on the route to a host; None with IPv6, or without a route."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))  # sends nothing
        address: str = probe.getsockname()[0]
        return address
    return None


def interface_of(address: str) -> str | None:
    """Name of the network interface that has an IPv4 address; None if it cannot be found out."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        names = [name for _, name in socket.if_nameindex()]
        return next((name for name in names if _address_of(probe, name) == address), None)
    return None


def _address_of(probe: socket.socket, interface: str) -> str | None:
    if sys.platform != 'linux':
        return None
    import fcntl

    request = struct.pack('256s', interface.encode()[:15])
    try:
        found = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
    except OSError:  # it has none
        return None
    return socket.inet_ntoa(found[20:24])
