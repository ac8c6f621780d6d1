"""Logged scalars of runs: lowest, highest, seconds a step; the same as `mae log`."""

from mae.apis.cli import run_command
from mae.commands.log import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
