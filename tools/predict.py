"""Predictions for images, on stdout or in files: classes, label maps or objects.

The same as `mae predict`.
"""

from mae.apis.cli import run_command
from mae.commands.predict import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
