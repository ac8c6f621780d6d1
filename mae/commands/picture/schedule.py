"""Learning rate of a config over its run, by the scheduler that would train; nothing is trained."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import CHART, add_config, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config(parser)
    parser.add_argument(
        '--num-images',
        type=int,
        metavar='N',
        help='of an epoch, where the training images are not here (default: as many as there are)',
    )
    args = parse_with_out(parser, argv, 'schedule.html', CHART)
    if args.num_images is not None and args.num_images < 1:
        parser.error(f'--num-images must be at least 1, not {args.num_images}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.config import load_config, parse_options

    config = load_config(args.config, parse_options(args.cfg_options))
    from mae.apis import draw_schedule  # late: what is wrong with the config shows before
    from mae.visualization.figures import save_figure

    figure = draw_schedule(config, num_images=args.num_images)
    save_figure(figure, args.out)
    print(f'wrote {args.out}: {figure.note}')
