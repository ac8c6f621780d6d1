"""Learning rate of a config over its run; the same as `mae picture schedule`."""

from mae.apis.cli import run_command
from mae.commands.picture.schedule import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
