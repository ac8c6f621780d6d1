"""Convert a model between the formats of this toolbox and of other libraries.

The same as `mae zoo convert`.
"""

from mae.apis.cli import run_command
from mae.commands.convert import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
