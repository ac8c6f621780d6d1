"""Features of images in a plane: t-SNE or UMAP; the same as `mae picture features`."""

from mae.apis.cli import run_command
from mae.commands.picture.features import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    run_command(main)
