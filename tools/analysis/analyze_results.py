"""Misclassified test images with the highest loss; the same as `mae picture mistakes`."""

from mae.apis.cli import run_command
from mae.commands.picture.mistakes import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
