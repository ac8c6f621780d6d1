"""Images beside those most like them, by the cosine of a model's features."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import PICTURE, add_model_and_images, add_pool, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_model_and_images(parser)
    parser.add_argument(
        '--of',
        nargs='+',
        metavar='IMAGE',
        help='images to find neighbours of (default: some of the others, evenly spaced)',
    )
    parser.add_argument(
        '--num', type=int, default=6, help='of those, without --of (default: %(default)s)'
    )
    parser.add_argument('-k', type=int, default=5, help='neighbours of each (default: %(default)s)')
    add_pool(parser)
    args = parse_with_out(parser, argv, 'neighbours.png', PICTURE)
    if args.num < 1 or args.k < 1:
        parser.error(f'--num and -k must be at least 1, not {args.num} and {args.k}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import draw_neighbours
    from mae.apis.zoo import load_model
    from mae.visualization.figures import save_figure

    model = load_model(args.model, args.weights or True, device=args.device)
    figure = draw_neighbours(
        model, args.images, args.of, k=args.k, num_queries=args.num, pool=args.pool
    )
    save_figure(figure, args.out, 'Nearest neighbours')
    print(f'wrote {args.out}')
