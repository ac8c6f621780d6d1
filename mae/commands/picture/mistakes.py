"""The misclassified test images with the highest loss, with label and prediction."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import PICTURE, parse_with_out
from mae.commands.picture.confusion import add_config_and_checkpoint


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config_and_checkpoint(parser)
    parser.add_argument('--num', type=int, default=24, help='images (default: %(default)s)')
    args = parse_with_out(parser, argv, 'mistakes.png', PICTURE)
    if args.num < 1:
        parser.error(f'--num must be at least 1, not {args.num}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis.mistakes import TestImages, mistakes_sheet, worst_mistakes
    from mae.utils.text import printable
    from mae.visualization.figures import save_figure

    images = TestImages(args.config, args.checkpoint, device=args.device)
    mistakes = worst_mistakes(images, args.num)
    save_figure(mistakes_sheet(mistakes, images), args.out, 'Worst mistakes')
    for each in mistakes:
        label, prediction = images.classes[each.label], images.classes[each.prediction]
        print(printable(f'{each.loss:6.2f}  {label} as {prediction}  {each.name}'))
    print(f'wrote {args.out}')
