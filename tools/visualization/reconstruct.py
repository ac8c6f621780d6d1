"""Write a picture of images | masked | as a pre-trained model reconstructs them.

The same as `mae reconstruct`.
"""

from mae.apis.cli import run_command
from mae.commands.reconstruct import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
