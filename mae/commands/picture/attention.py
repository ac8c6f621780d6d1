"""Where the class token of a model looks: image | one block | rollout over the blocks."""

import argparse
from collections.abc import Sequence

from mae.commands.arguments import PICTURE, add_model_and_images, parse_with_out


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_model_and_images(parser)
    parser.add_argument(
        '--block',
        type=int,
        default=-1,
        metavar='N',
        help='from 0, or from the last one, which is -1 (default: %(default)s)',
    )
    parser.add_argument('--heads', action='store_true', help='also each head of the block alone')
    return parse_with_out(parser, argv, 'attention.png', PICTURE)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Draw; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis import draw_attention
    from mae.apis.zoo import load_model
    from mae.visualization.figures import save_figure

    model = load_model(args.model, args.weights or True, device=args.device)
    figure = draw_attention(model, args.images, block=args.block, heads=args.heads)
    save_figure(figure, args.out, 'Attention')
    print(f'wrote {args.out}')
