"""Fine-tune pre-trained weights on class folders of your images.

Looks at images and weights, writes a config that says why each value was chosen, and trains from
it. A folder for each class, of which a fifth is held out to validate; or such folders in `train`
and `val`.
"""

import argparse
from collections.abc import Sequence

from mae.commands.pretrain import add_run_options
from mae.utils.command_line import parse
from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('data', metavar='DATA', help='folder of class folders')
    parser.add_argument(
        '--from',
        dest='checkpoint',
        required=True,
        metavar='CHECKPOINT',
        help='weights of a pre-training: a file, a name of `mae zoo list`, or an address',
    )
    add_run_options(parser, suffix='-ft')
    add_trust_argument(parser)
    return parse(parser, argv)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Fine-tune; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    print(f'looking at {args.data}', flush=True)
    from mae.apis.own_classes import write_finetuning
    from mae.apis.own_data import train_written
    from mae.apis.recipe_rules import Given

    given = Given(img_size=args.img_size, epochs=args.epochs, batch_size=args.batch_size)
    config = write_finetuning(args.data, args.checkpoint, args.work_dir, given)
    if not args.config_only:
        train_written(config, resume=args.resume)
