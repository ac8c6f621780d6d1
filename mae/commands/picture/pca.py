"""Patch tokens of a model as colours: patches that are alike have like colours."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import PICTURE, add_model_and_images, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        epilog='Red, green and blue are the first three principal components of the patch tokens '
        'of all images together.',
    )
    add_model_and_images(parser)
    return parse_with_out(parser, argv, 'pca.png', PICTURE)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import draw_pca
    from mae.apis.zoo import load_model
    from mae.visualization.figures import save_figure

    model = load_model(args.model, args.weights or True, device=args.device)
    save_figure(draw_pca(model, args.images), args.out, 'Patch tokens')
    print(f'wrote {args.out}')
