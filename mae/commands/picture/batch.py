"""The first images that a config trains on: image | crop | masked, or mixed and erased."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import PICTURE, add_config, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        epilog='Order, crops, masks and mixes are those of the run with the seed of the config.',
    )
    add_config(parser)
    parser.add_argument('--num', type=int, default=8, help='images (default: %(default)s)')
    parser.add_argument('--epoch', type=int, default=0, help='from 0 (default: %(default)s)')
    args = parse_with_out(parser, argv, 'batch.png', PICTURE)
    if args.num < 1 or args.epoch < 0:
        parser.error(f'--num must be at least 1 and --epoch 0, not {args.num} and {args.epoch}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.config import load_config, parse_options

    config = load_config(args.config, parse_options(args.cfg_options))
    from mae.apis import draw_batch  # late: what is wrong with the config shows before
    from mae.visualization.figures import save_figure

    save_figure(draw_batch(config, num=args.num, epoch=args.epoch), args.out, 'Training images')
    print(f'wrote {args.out}')
