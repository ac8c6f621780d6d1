"""Crops and masks that a config trains on; the same as `mae picture batch`."""

from mae.apis.cli import run_command
from mae.commands.picture.batch import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
