"""Write a picture of images | masked | as a pre-trained model reconstructs them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.commands.arguments import require_place
from mae.utils.command_line import parse
from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        'config', help='path of a pre-training config, or the name of a shipped one'
    )
    parser.add_argument('checkpoint', help='weights with the decoder')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files or folders')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('reconstruction.png'),
        metavar='FILE.png',
        help='picture to write (default: %(default)s)',
    )
    parser.add_argument(
        '--patch-stats',
        choices=('true', 'visible'),
        default='true',
        help='mean and deviation of hidden patches, where the model predicts normalised pixels: '
        "of the true patches, as in the authors' pictures, or the average of the visible ones "
        '(default: %(default)s); the picture says which',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    add_trust_argument(parser)
    args = parse(parser, argv)
    if args.out.suffix.lower() != '.png':
        parser.error(f'--out must end in .png, not {args.out}')
    require_place(args.out)
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Reconstruct; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import init_model, load_config, reconstruct
    from mae.apis.images import decoded_bits
    from mae.utils.files import make_folder
    from mae.visualization.sheets import contact_sheet

    model = init_model(args.config, args.checkpoint, args.device)
    bits = decoded_bits(load_config(args.config))
    panels = reconstruct(model, args.images, patch_stats=args.patch_stats, bits=bits)
    sheet = contact_sheet(panels)
    make_folder(args.out.parent)
    sheet.save(args.out)
    print(f'wrote {args.out}. {panels[0].note}'.strip())
