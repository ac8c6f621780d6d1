"""The command `mae`, also as `python -m mae`: its table of commands, and what calls them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

from mae.apis.cli import run_command
from mae.utils.suggest import did_you_mean
from mae.version import __version__


@dataclass(frozen=True)
class CommandRow:
    """A row of the table.

    Attributes:
        text: what it does, in one line.
        module: below `mae.commands`.
        function: its name in the module; it takes the words after the command, and `mae COMMAND`.
        trains: whether a run in it listens to signals that stop it.
    """

    text: str
    module: str
    function: str = 'main'
    trains: bool = False


# A new command is a row here and a module in `mae/commands`.
COMMANDS = {
    'pretrain': CommandRow('pre-train on a folder of your images', 'pretrain', trains=True),
    'finetune': CommandRow('fine-tune on class folders of your images', 'finetune', trains=True),
    'doctor': CommandRow('examine a run before it starts', 'doctor'),
    'train': CommandRow('train what a config describes', 'train', trains=True),
    'test': CommandRow('evaluate a checkpoint as a config describes', 'test'),
    'predict': CommandRow('classes, label maps or objects of images', 'predict'),
    'features': CommandRow('features of images as a matrix in a file', 'features'),
    'reconstruct': CommandRow('a picture of images | masked | reconstructed', 'reconstruct'),
    'report': CommandRow('the page of a run, or of several compared', 'report'),
    'picture attention': CommandRow('where the class token looks', 'picture.attention'),
    'picture pca': CommandRow('patch tokens as colours', 'picture.pca'),
    'picture neighbours': CommandRow('images beside those most like them', 'picture.neighbours'),
    'picture features': CommandRow('features in a plane: t-SNE or UMAP', 'picture.features'),
    'picture confusion': CommandRow('a confusion matrix on test images', 'picture.confusion'),
    'picture mistakes': CommandRow('test images with the highest loss', 'picture.mistakes'),
    'picture batch': CommandRow('crops and masks that a config trains on', 'picture.batch'),
    'picture schedule': CommandRow('learning rate of a config over its run', 'picture.schedule'),
    'log': CommandRow('scalars of runs: lowest, highest, seconds a step', 'log'),
    'zoo list': CommandRow('names of published weights', 'zoo', 'zoo_list'),
    'zoo get': CommandRow('fetch published weights, verified', 'zoo', 'zoo_get'),
    'zoo convert': CommandRow("between the formats of this and other libraries' models", 'convert'),
    'zoo push': CommandRow('a converted folder to the Hugging Face Hub', 'zoo', 'zoo_push'),
    'config print': CommandRow('all values of a config', 'config', 'config_print'),
    'config diff': CommandRow('values in which two configs differ', 'config', 'config_diff'),
    'config cost': CommandRow("parameters and FLOPs of a config's model", 'cost'),
    'config new': CommandRow('a config file that inherits another', 'config', 'config_new'),
    'config import': CommandRow(
        'a recipe of mmselfsup, mmpretrain or the authors as a config', 'config', 'config_import'
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Call the command that the first words name; `argv` stands for the command line."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in ('-h', '--help'):
        print(_usage(COMMANDS))
        sys.exit(0 if words else 2)
    if words[0] == '--version':
        print(__version__)
        return
    name = next((name for name in COMMANDS if words[: _length(name)] == name.split()), None)
    if name is None:
        _refuse(words)
    command = COMMANDS[name]
    function: Callable[..., None] = getattr(
        import_module(f'mae.commands.{command.module}'), command.function
    )
    rest = words[_length(name) :]
    run_command(lambda: function(rest, f'mae {name}'), stops=command.trains)


def _refuse(words: Sequence[str]) -> NoReturn:
    """End with the commands of a group, or with the nearest name of a misspelt one."""
    group = {name: row for name, row in COMMANDS.items() if name.split()[0] == words[0]}
    if group and (len(words) == 1 or words[1] in ('-h', '--help')):
        print(_usage(group))
        sys.exit(0 if len(words) > 1 else 2)
    wrong = ' '.join(words[:2]) if group else words[0]
    meant = did_you_mean(wrong, COMMANDS)
    print(f'mae: error: no such command: {wrong}{meant}', file=sys.stderr)
    sys.exit(2)


def _usage(commands: dict[str, CommandRow]) -> str:
    width = max(map(len, commands))
    rows = [f'  {name:{width}}  {row.text}' for name, row in commands.items()]
    lines = ['usage: mae COMMAND ..., and mae COMMAND --help for its arguments', '', *rows]
    return '\n'.join(lines)


def _length(name: str) -> int:
    return len(name.split())


if __name__ == '__main__':
    main()
