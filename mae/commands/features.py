"""Features of images as a matrix in a file, a row each."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_eval_amp, eval_amp_of, parse

FORMATS = ('.npy', '.npz', '.safetensors')


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('model', help='name of published weights (`mae zoo list`), or a config')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files and folders')
    parser.add_argument('--weights', help='path or address of weights, if not the published ones')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='FILE',
        help='.npz and .safetensors hold features and names; .npy the features, and the names '
        'stand beside it in FILE.txt, a line each',
    )
    parser.add_argument(
        '--pool',
        choices=['avg', 'cls', 'tokens'],
        default='avg',
        help='average of the patch tokens, cls token, or all of them (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=32, help='images in one forward pass (default: 32)'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    add_eval_amp(parser)
    args = parse(parser, argv)
    if args.out.suffix not in FORMATS:
        parser.error(f'--out must end in {", ".join(FORMATS)}, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Extract; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import FeatureExtractor
    from mae.apis.features import save_features

    extract = FeatureExtractor(
        args.model,
        args.weights or True,
        pool=args.pool,
        batch_size=args.batch_size,
        device=args.device,
        amp=eval_amp_of(args),
    )
    result = extract(args.images)
    save_features(result, args.out)
    print(f'wrote {args.out}: {" x ".join(map(str, result.features.shape))}')
