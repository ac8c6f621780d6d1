"""Confusion matrix of a classifier on the test images of its config: labels by predictions."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.commands.arguments import PICTURE, add_device, parse_with_out, require_place


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_config_and_checkpoint(parser)
    parser.add_argument(
        '--counts', type=Path, metavar='FILE.json', help='write classes and counts here as well'
    )
    args = parse_with_out(parser, argv, 'confusion.png', PICTURE)
    if args.counts is not None and args.counts.suffix != '.json':
        parser.error(f'--counts must end in .json, not {args.counts}')
    if args.counts is not None:
        require_place(args.counts)
    return args


def add_config_and_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `TestImages`."""
    parser.add_argument('config', help="path of a classifier's config, or name of a shipped one")
    parser.add_argument('checkpoint', help='its weights: path, published name or address')
    add_device(parser)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis.mistakes import TestImages, confusion_counts
    from mae.utils.files import write_json
    from mae.visualization.figures import save_figure
    from mae.visualization.per_class import confusion_picture

    images = TestImages(args.config, args.checkpoint, device=args.device)
    counts = confusion_counts(images)
    save_figure(confusion_picture(counts, images.classes), args.out, 'Confusion matrix')
    if args.counts is not None:
        write_json(args.counts, {'classes': images.classes, 'counts': counts})
    right, total = sum(row[n] for n, row in enumerate(counts)), sum(map(sum, counts))
    print(f'wrote {args.out}: {right} of {total} images right')
