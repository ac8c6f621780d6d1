"""Evaluate a checkpoint as a config describes: top-1 and top-5, k-NN, mIoU, or AP.

The same as `mae test`.
"""

from mae.apis.cli import run_command
from mae.commands.test import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
