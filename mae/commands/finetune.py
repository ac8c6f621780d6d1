"""Fine-tune pre-trained weights on class folders of your images.

Looks at images and weights, writes a config that says why each value was chosen, and trains from
it. A folder for each class, of which a fifth is held out to validate; or such folders in `train`
and `val`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

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
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='DIR',
        help='where config, logs and checkpoints go (default: work_dirs/<name of the folder>-ft)',
    )
    for name, text in (
        ('img-size', 'side of the images that the model sees, in pixels'),
        ('epochs', 'length of the run'),
        ('batch-size', 'images of a step'),
    ):
        parser.add_argument(f'--{name}', type=int, metavar='N', help=text)
    parser.add_argument('--resume', action='store_true', help='continue the run in the work dir')
    parser.add_argument(
        '--config-only', action='store_true', help='write the config, and do not train'
    )
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
