"""Draw the label maps or objects that a model finds over their images.

Without images, samples of the config's test dataset are drawn, the truth beside the prediction.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='path of a config with a Segmenter or Detector, or the name of a shipped one'
    )
    parser.add_argument('checkpoint', help='weights: path, published name or address')
    parser.add_argument(
        'images', nargs='*', metavar='IMAGE', help='image files and folders, a row each'
    )
    parser.add_argument(
        '--num', type=int, default=6, help='samples of the dataset (default: %(default)s)'
    )
    parser.add_argument(
        '--first', type=int, default=0, help='number of the first one (default: %(default)s)'
    )
    parser.add_argument(
        '--min-score', type=float, default=0.5, help='of a detection that is drawn (default: 0.5)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('predictions.png'),
        metavar='FILE',
        help='picture (.png) or page (.html) to write (default: %(default)s)',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    args = parse(parser, argv)
    if args.out.suffix.lower() not in ('.png', '.html'):
        parser.error(f'--out must end in .png or .html, not {args.out}')
    if args.num < 1 or args.first < 0:
        parser.error(f'--num must be at least 1 and --first 0, not {args.num} and {args.first}')
    if not 0 <= args.min_score <= 1:
        parser.error(f'--min-score must lie in 0..1, not {args.min_score}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.apis.dense_pictures import dense_inferencer, view_dataset, view_images
    from mae.utils.files import whole_file, write_text
    from mae.utils.text import counted
    from mae.visualization.dense import dense_sheet
    from mae.visualization.dense_report import predictions_section
    from mae.visualization.report import page

    inferencer = dense_inferencer(args.config, args.checkpoint, device=args.device)
    if args.images:
        views = view_images(inferencer, args.images, min_score=args.min_score)
    else:
        numbers = range(args.first, args.first + args.num)
        views = view_dataset(inferencer, numbers, min_score=args.min_score)
    if args.out.suffix.lower() == '.html':
        args.out.parent.mkdir(parents=True, exist_ok=True)
        section = predictions_section('Predictions', views, inferencer.classes)
        write_text(args.out, page(f'Predictions of {Path(args.config).stem}', section))
    else:
        with whole_file(args.out) as file:
            dense_sheet(views, inferencer.classes).save(file, 'PNG')
    print(f'wrote {args.out}: {counted(len(views), "image")}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
