"""Features of images in a plane, near where they are alike: t-SNE or UMAP, coloured by folder."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import CHART, add_model_and_images, add_pool, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_model_and_images(parser)
    parser.add_argument(
        '--method',
        choices=['tsne', 'umap'],
        default='tsne',
        help='umap needs `pip install umap-learn` (default: %(default)s)',
    )
    parser.add_argument(
        '--max-images',
        type=int,
        default=5000,
        metavar='N',
        help='of more, as many are drawn at random (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    add_pool(parser)
    args = parse_with_out(parser, argv, 'features.html', CHART)
    if args.max_images < 1 or args.seed < 0:
        parser.error(
            f'--max-images must be at least 1 and --seed 0, not {args.max_images} and {args.seed}'
        )
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import draw_features
    from mae.apis.zoo import load_model
    from mae.visualization.figures import save_figure

    model = load_model(args.model, args.weights or True, device=args.device)
    figure = draw_features(
        model,
        args.images,
        method=args.method,
        pool=args.pool,
        max_images=args.max_images,
        seed=args.seed,
    )
    save_figure(figure, args.out)
    print(f'wrote {args.out}')
