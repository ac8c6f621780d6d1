"""Pre-train on any folder of images: looks at them, writes a config for them, trains from it.

The config says why each value was chosen; options replace what the rules would choose.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse
from mae.utils.vit_sizes import ARCHS


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('data', metavar='DATA', help='folder of images, searched in depth')
    parser.add_argument('--arch', choices=ARCHS, help='size of the encoder')
    parser.add_argument('--patch-size', type=int, metavar='N', help='side of a patch in pixels')
    add_run_options(parser)
    return parse(parser, argv)


def add_run_options(parser: argparse.ArgumentParser, suffix: str = '') -> None:
    """Add what `mae pretrain` and `mae finetune` take alike.

    Args:
        suffix: of the default work dir.
    """
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='DIR',
        help='where config, logs and checkpoints go (default: '
        f'work_dirs/<name of the folder>{suffix})',
    )
    for name, text in (
        ('img-size', 'side of the images that the model sees, in pixels'),
        ('epochs', 'length of the run'),
        ('batch-size', 'images of a step'),
    ):
        parser.add_argument(f'--{name}', type=int, metavar='N', help=text)
    parser.add_argument('--resume', action='store_true', help='continue the run in the work dir')
    parser.add_argument(
        '--config-only', action='store_true', help='write the config, and do not train'
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Pre-train; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    print(f'looking at {args.data}', flush=True)
    from mae.apis.own_data import train_written, write_pretraining
    from mae.apis.recipe_rules import Given

    given = Given(args.arch, args.img_size, args.patch_size, args.epochs, args.batch_size)
    config = write_pretraining(args.data, args.work_dir, given)
    if not args.config_only:
        train_written(config, resume=args.resume)
