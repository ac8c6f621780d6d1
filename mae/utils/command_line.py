"""What all command lines share, and the words that configs and options choose from."""

import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Literal, TypeVar, get_args

from mae.utils.launched import launched_rank

_Item = TypeVar('_Item')

# Number formats of training, of evaluation, and of float32 products; see `mae.utils.precision`.
Amp = Literal['bfloat16', 'float16']
EvalAmp = Literal['as_trained', 'bfloat16', 'float16']
MatmulPrecision = Literal['highest', 'high']
# What may change when a run is resumed anyway.
MayDiffer = Literal[
    'seed', 'global_batch_size', 'num_samples', 'steps_per_epoch', 'dataset', 'teacher'
]


def parse(
    parser: ArgumentParser, argv: Sequence[str] | None = None, may_be_empty: Collection[str] = ()
) -> Namespace:
    """Parse a command line, and refuse an empty argument.

    An unset variable of the shell expands to one, and an empty path is the current folder.

    Args:
        argv: words of the command line; None takes `sys.argv[1:]`.
        may_be_empty: options, such as '--key', whose value may be empty.
    """
    if _has_empty(sys.argv[1:] if argv is None else argv, may_be_empty):
        parser.error('an argument is empty; is a variable of the shell not set?')
    return parser.parse_args(argv)


def add_cfg_options(parser: ArgumentParser, example: str = '') -> None:
    """Add `--cfg-options`, which `mae.config.parse_options` reads.

    Args:
        example: words of it, for `--help`.
    """
    text = f'change the config, e.g. {example}' if example else 'change the config'
    parser.add_argument('--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help=text)


def add_launcher(parser: ArgumentParser) -> None:
    """Add what launchers of several processes give to each of them."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--local-rank', '--local_rank', type=int, help=SUPPRESS)


def add_eval_amp(parser: ArgumentParser) -> None:
    """Add `--amp` of a tool that predicts; `eval_amp_of` reads it."""
    parser.add_argument(
        '--amp',
        choices=[*get_args(EvalAmp), 'float32'],
        default='as_trained',
        help="type of the encoder's products (default: %(default)s, as the config says)",
    )


def eval_amp_of(args: Namespace) -> EvalAmp | None:
    """What `amp` of an inferencer takes: None for float32."""
    return None if args.amp == 'float32' else args.amp


def _has_empty(words: Sequence[str], may_be_empty: Collection[str]) -> bool:
    for before, word in pairwise(['', *words]):
        is_joined = word.startswith('--') and word.endswith('=')
        option = word.removesuffix('=') if is_joined else before
        if (is_joined or not word) and option not in may_be_empty:
            return True
    return False


def say_reading(config: str) -> None:
    """Print in the first process, before the imports that take seconds, what it is about to do."""
    if not launched_rank():
        print(f'reading {config}', flush=True)


def progress_bar(items: Iterable[_Item], what: str, total: int | None = None) -> Iterable[_Item]:
    """The items, with a bar on stderr where that is a terminal; it is gone when they are done.

    Args:
        what: name of the items.
        total: number of the items; None takes their length, if they have one.
    """
    from rich.console import Console
    from rich.progress import track

    if in_notebook():  # where rich leaves empty outputs behind
        return items
    console = Console(stderr=True)
    is_off = not console.is_terminal
    return track(items, what, total, console=console, transient=True, disable=is_off)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose streams claim to be terminals."""
    ipython = sys.modules.get('IPython')  # imported by whoever runs in one
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, 'kernel', None) is not None
