"""All values of a config; the same as `mae config print`."""

from mae.apis.cli import run_command
from mae.commands.config import config_print as main

__all__ = ['main']

if __name__ == '__main__':
    run_command(main)
