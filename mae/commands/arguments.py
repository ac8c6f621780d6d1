"""Arguments that several commands share, those of pictures above all."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_cfg_options, parse
from mae.utils.errors import ConfigError
from mae.utils.files import require_writable

# The suffixes of `mae.visualization.figures`, which imports Pillow and numpy.
PICTURE = ('.png', '.html')
CHART = ('.svg', '.html')


def add_model_and_images(parser: argparse.ArgumentParser) -> None:
    """Add what `load_model` takes, and images."""
    parser.add_argument('model', help='name of published weights (`mae zoo list`), or a config')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files and folders')
    parser.add_argument('--weights', help='path or address of weights, if not the published ones')
    add_device(parser)


def add_pool(parser: argparse.ArgumentParser) -> None:
    """Add `--pool`, of which features an image has."""
    parser.add_argument(
        '--pool',
        choices=['avg', 'cls'],
        default='avg',
        help='features: average of the patch tokens, or cls token (default: %(default)s)',
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add a config and its changes."""
    parser.add_argument('config', help='path of a config, or the name of a shipped one')
    add_cfg_options(parser, 'train_cfg.max_epochs=10')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')


def parse_with_out(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    default: str,
    suffixes: tuple[str, str],
) -> argparse.Namespace:
    """Parse a command line that writes a picture, after adding `--out`.

    Args:
        default: file to write.
        suffixes: those that the picture can be written to.
    """
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(default),
        metavar='FILE',
        help=f'{" or ".join(suffixes)} to write (default: %(default)s)',
    )
    args = parse(parser, argv)
    if args.out.suffix.lower() not in suffixes:
        parser.error(f'--out must end in {" or ".join(suffixes)}, not {args.out}')
    require_place(args.out)
    return args


def require_place(path: Path) -> None:
    """Refuse a file that cannot be written, before hours are spent on what it is for.

    Raises:
        ConfigError: it is a folder, or would lie in what is none or may not be written.
        OSError: it is a device.
    """
    try:
        require_writable(path)
    except IsADirectoryError:
        raise ConfigError(f'{path} is a folder: give the name of a file') from None
    except NotADirectoryError as error:
        raise ConfigError(f'{path} cannot be written: {error.filename} is no folder') from None
    except PermissionError as error:
        why = f'{error.filename} may not be written'
        raise ConfigError(f'{path} cannot be written: {why}') from None
