"""`python -m mae.benchmark.on_device NAME --json FILE`: the checks of one file."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from mae.apis.cli import run_command
from mae.apis.device import resolve_device
from mae.benchmark.on_device.checking import CheckedDevice, perform

NAMES = ('machine', 'ceilings', 'kernels', 'parity', 'restart', 'waits', 'profile', 'variants')


def main() -> None:
    """Read the command line and check; exit status 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', choices=NAMES)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda')
    parser.add_argument('--quick', action='store_true', help='small models and few numbers')
    parser.add_argument('--json', type=Path, required=True, metavar='FILE')
    args = parser.parse_args()
    module = import_module(f'mae.benchmark.on_device.{args.name}')
    with TemporaryDirectory() as folder:
        place = CheckedDevice(resolve_device(args.device), args.quick, Path(folder))
        holds = perform(module.checks(place), args.json)
    if not holds:
        sys.exit(1)


if __name__ == '__main__':
    run_command(main)
