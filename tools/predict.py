"""The likeliest classes of images, on stdout or in a file."""

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
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files and folders')
    parser.add_argument('--weights', help='path or address of weights, if not the published ones')
    parser.add_argument(
        '--topk', type=int, default=5, help='classes listed for an image (default: 5)'
    )
    parser.add_argument('--classes', type=Path, metavar='FILE', help='class names, a line each')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the classes here')
    parser.add_argument(
        '--batch-size', type=int, default=32, help='images in one forward pass (default: 32)'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument(
        '--amp',
        choices=['as_trained', 'bfloat16', 'float16', 'float32'],
        default='as_trained',
        help="type of the encoder's products (default: %(default)s, as the config says)",
    )
    args = parse(parser, argv)
    if args.out is not None and args.out.suffix != '.json':
        parser.error(f'--out must end in .json, not {args.out}')
    if args.topk < 1:
        parser.error(f'--topk must be at least 1, not {args.topk}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Classify; `argv` stands for the command line."""
    args = parse_args(argv)
    from dataclasses import asdict

    from mae.apis import ImageClassifierInferencer
    from mae.utils.files import write_json
    from mae.utils.text import printable, read_lines

    classes = [line for _, line in read_lines(args.classes)] if args.classes else None
    classify = ImageClassifierInferencer(
        args.model,
        args.weights or True,
        classes=classes,
        topk=args.topk,
        batch_size=args.batch_size,
        device=args.device,
        amp=None if args.amp == 'float32' else args.amp,
    )
    result = classify(args.images)
    if args.out is not None:
        write_json(args.out, asdict(result))
        print(f'wrote {args.out}: {len(result.images)} images')
        return
    for image in result.images:
        print(printable(image.name))
        for name, score in zip(image.classes, image.scores, strict=True):
            print(f'  {100 * score:5.1f} %  {printable(name)}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
