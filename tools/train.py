"""Train what a config describes: pre-training, fine-tuning, linear probe, from scratch.

The same as `mae train`.
"""

from mae.apis.cli import run_command
from mae.commands.train import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main, stops=True)
