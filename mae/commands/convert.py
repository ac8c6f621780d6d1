"""Convert a model between the formats of this toolbox and of other libraries.

Those of the authors, timm, transformers, mmpretrain (mmselfsup) and lightly; the format of the
input is detected. Without --to a folder iter_N.dcp, which several processes wrote, becomes one .pth
from which a run resumes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse

FORMATS = ('fair', 'timm', 'transformers', 'mmpretrain', 'mae', 'lightly')


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        'source', help='.pth or .safetensors file, or a folder of transformers or iter_N.dcp'
    )
    parser.add_argument(
        'out',
        type=Path,
        help='.safetensors or .pth file; for transformers a folder, for timm either',
    )
    parser.add_argument('--to', choices=FORMATS, help='library that will load it')
    parser.add_argument(
        '--config', help='config of the model, for what its weights do not tell (heads, grid)'
    )
    parser.add_argument(
        '--facts',
        nargs='+',
        action='extend',
        metavar='NAME=VALUE',
        help='such facts one by one, e.g. num_heads=3 decoder_num_heads=4 grid_size=8,16',
    )
    parser.add_argument(
        '--encoder-only', action='store_true', help='leave out the decoder and the head'
    )
    parser.add_argument(
        '--img-size',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help='height and width, or one number for both, to resample the positions for',
    )
    parser.add_argument(
        '--no-pos-antialias',
        dest='pos_antialias',
        action='store_false',
        help='resample the positions as the authors do, without antialiasing (default: as timm)',
    )
    parser.add_argument(
        '--as-plain-vit',
        action='store_true',
        help='of a segmenter or detector, leave out trained relative positions and windows, which '
        "other libraries' ViTs lack; the features then differ until fine-tuning",
    )
    parser.add_argument('--patch-size', type=int, help='side in pixels to fit the projection to')
    parser.add_argument('--in-channels', type=int, help='channels to fit the projection to')
    parser.add_argument(
        '--key',
        metavar='NAME',
        help='which weights to take where the file holds those of several models, e.g. teacher or '
        'state_dict_ema',
    )
    args = parse(parser, argv)
    if args.to is None and '.dcp' not in Path(args.source).suffixes:
        parser.error('the following arguments are required: --to')
    for fact in args.facts or ():
        if not fact.partition('=')[1]:
            parser.error(f'--facts takes NAME=VALUE, not {fact!r}')
    if args.img_size and len(args.img_size) > 2:
        parser.error('--img-size takes one number or two')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Convert; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import convert
    from mae.config import parse_options

    size = args.img_size and (args.img_size[0], args.img_size[-1])
    done = convert(
        args.source,
        args.out,
        args.to,
        config=args.config,
        facts=parse_options(args.facts),
        encoder_only=args.encoder_only,
        img_size=size,
        patch_size=args.patch_size,
        in_channels=args.in_channels,
        key=args.key,
        pos_antialias=args.pos_antialias,
        as_plain_vit=args.as_plain_vit,
    )
    for line in done.lines:
        print(line)
    print(f'wrote {done.out}')
