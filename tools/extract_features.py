"""Features of images as a matrix in a file, a row each; the same as `mae features`."""

from mae.apis.cli import run_command
from mae.commands.features import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
