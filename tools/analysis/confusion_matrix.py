"""Confusion matrix of a classifier on test images; the same as `mae picture confusion`."""

from mae.apis.cli import run_command
from mae.commands.picture.confusion import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
