"""Where the class token of a model looks; the same as `mae picture attention`."""

from mae.apis.cli import run_command
from mae.commands.picture.attention import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
