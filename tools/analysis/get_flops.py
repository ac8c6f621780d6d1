"""Parameters and FLOPs of a config's model; the same as `mae config cost`."""

from mae.apis.cli import run_command
from mae.commands.cost import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
