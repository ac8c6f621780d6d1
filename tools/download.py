"""Fetch published weights, verified, with their licence; as `mae zoo list` and `mae zoo get`."""

from mae.apis.cli import run_command
from mae.commands.zoo import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
