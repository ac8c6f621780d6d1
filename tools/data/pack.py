"""Pack images into a few large files, for disks that are slow with many small ones."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder of class folders, or of .parquet or .arrow files')
    parser.add_argument('target', type=Path, help='folder to write; read it with PackedImages')
    parser.add_argument(
        '--short-side',
        type=int,
        metavar='N',
        help='shorter side of larger images, in pixels (default: 256); others keep their bytes',
    )
    parser.add_argument(
        '--quality', type=int, help='JPEG quality of the images made smaller (default: 90)'
    )
    parser.add_argument(
        '--keep', action='store_true', help='keep the size of all images, and their bytes'
    )
    parser.add_argument(
        '--pixels',
        action='store_true',
        help='keep pixels: nothing to decode, eleven times the space of packed JPEGs',
    )
    parser.add_argument('--list-file', help='lines `path label`, instead of class folders')
    parser.add_argument('--split', default='', help='folder in SOURCE, or first word of its tables')
    parser.add_argument('--unlabelled', action='store_true', help='images without classes')
    parser.add_argument(
        '--quarantine', metavar='FILE', help='leave out what tools/data/verify.py found unreadable'
    )
    parser.add_argument('--workers', type=int, default=1, metavar='N', help='number of processes')
    parser.add_argument(
        '--per-shard', type=int, default=10_000, metavar='N', help='images in one file'
    )
    args = parse(parser, argv, may_be_empty=['--split'])
    if args.short_side is not None and args.keep:
        parser.error('--short-side has no effect with --keep')
    args.short_side = 256 if args.short_side is None else args.short_side
    if args.short_side < 1 or args.workers < 1 or args.per_shard < 1:
        parser.error('--short-side, --workers and --per-shard must be at least 1')
    if args.quality is not None and (args.pixels or args.keep):
        parser.error(f'--quality has no effect with --{"pixels" if args.pixels else "keep"}')
    args.quality = 90 if args.quality is None else args.quality
    if not 1 <= args.quality <= 100:
        parser.error('--quality must lie in 1..100')
    return args


def open_source(args: argparse.Namespace) -> Any:
    """The data set to pack: tables if there are any, else class folders or a list."""
    from mae.datasets import ArrowImages, ImageFolder
    from mae.datasets.sources.arrow import holds_tables

    if holds_tables(args.source, args.split):
        if args.list_file is not None:
            raise ValueError(f'--list-file is for folders of images; {args.source} holds tables')
        label = None if args.unlabelled else 'label'
        return ArrowImages(args.source, args.split, label=label, in_order=True)
    return ImageFolder(
        args.source, args.split, list_file=args.list_file, labelled=not args.unlabelled
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Pack; `argv` stands for the command line."""
    args = parse_args(argv)
    from rich.progress import Progress

    from mae.datasets.packing import Packing, pack
    from mae.datasets.quarantine import Quarantined

    source = open_source(args)
    if args.quarantine is not None:
        source = Quarantined(source, args.quarantine)
    packing = Packing(
        None if args.keep else args.short_side, args.quality, args.per_shard, args.pixels
    )
    with Progress() as bar:
        task = bar.add_task('packing', total=len(source))
        pack(
            source,
            args.target,
            packing,
            workers=args.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(f'{len(source)} images packed into {args.target}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
