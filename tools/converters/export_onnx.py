"""Write an encoder or a classifier as an ONNX file, checked in onnxruntime."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'model', help='name of published weights (tools/download.py --list), or a config'
    )
    parser.add_argument('out', type=Path, metavar='FILE.onnx', help='file to write')
    parser.add_argument('--weights', help='path or address of weights, if not the published ones')
    parser.add_argument(
        '--pool',
        choices=['avg', 'cls', 'tokens'],
        help='features of the encoder, also of a classifier (default: its logits)',
    )
    parser.add_argument(
        '--uint8', action='store_true', help='take uint8 images; normalising is part of the file'
    )
    args = parse(parser, argv)
    if args.out.suffix != '.onnx':
        parser.error(f'FILE must end in .onnx, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Export; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis.onnx_export import export_onnx
    from mae.apis.zoo import load_model

    loaded = load_model(args.model, args.weights or True)
    if args.pool is None:
        loaded.require_head()
    classes = loaded.class_names()
    report = export_onnx(loaded.model, args.out, pool=args.pool, uint8=args.uint8, classes=classes)
    names = ' and '.join(map(str, report.files))
    print(f'wrote {names}: {report.output}; onnxruntime differs by up to {report.difference:.1e}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
