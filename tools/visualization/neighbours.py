"""Images beside those most like them; the same as `mae picture neighbours`."""

from mae.apis.cli import run_command
from mae.commands.picture.neighbours import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
