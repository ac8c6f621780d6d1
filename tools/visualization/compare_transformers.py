"""Write a picture of images | masked | reconstructed here | by transformers, from one checkpoint.

The checkpoint is converted, opened and run by transformers' own code, with the same masks; the
largest difference of the two predictions is printed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a pre-training config, or name of a shipped one')
    parser.add_argument('checkpoint', help='weights with the decoder, in any known format')
    parser.add_argument('images', nargs='*', metavar='IMAGE', help='image files, a row each')
    parser.add_argument(
        '--of', metavar='CONFIG', help='config whose test images to take instead of files'
    )
    parser.add_argument('--num-images', type=int, default=4, help='of them (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('compared.png'), metavar='FILE.png')
    args = parse(parser, argv)
    if bool(args.images) == bool(args.of):
        parser.error('give either image files or --of CONFIG')
    if args.out.suffix.lower() != '.png':
        parser.error(f'--out must end in .png, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Compare; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis import init_model
    from mae.apis.compare import compare_transformers, first_test_images
    from mae.apis.images import read_images
    from mae.visualization.sheets import contact_sheet

    model = init_model(args.config, args.checkpoint)
    if args.of:
        images = first_test_images(args.of, args.num_images)
    else:
        images = read_images(args.images, model.encoder.in_channels, model.encoder.img_size)
    panels, deviation = compare_transformers(model, images)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(panels).save(args.out, optimize=True)
    print(f'predictions differ by at most {deviation:.1e} of the largest; wrote {args.out}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
