"""Patch tokens of a model as colours; the same as `mae picture pca`."""

from mae.apis.cli import run_command
from mae.commands.picture.pca import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
