"""Write a picture of images | masked | as a pre-trained model reconstructs them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='path of a pre-training config, or the name of a shipped one'
    )
    parser.add_argument('checkpoint', help='weights with the decoder')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files, a row each')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('reconstruction.png'),
        metavar='FILE.png',
        help='picture to write (default: %(default)s)',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    add_trust_argument(parser)
    args = parser.parse_args(argv)
    if args.out.suffix.lower() != '.png':
        parser.error(f'--out must end in .png, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Reconstruct; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis import init_model
    from mae.apis.reconstruct import reconstruct
    from mae.visualization.panels import contact_sheet

    model = init_model(args.config, args.checkpoint, args.device)
    sheet = contact_sheet(reconstruct(model, args.images))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    parse_args()  # `--help` and slips need not wait for the imports, which take seconds
    from mae.apis.cli import run

    run(main)
