"""Configs as text: all values, the differences of two, new ones, and those of other homes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_cfg_options, parse
from mae.utils.files import whole_file
from mae.utils.text import counted


def config_print(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Print all values of a config; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='All values of a config, inherited too.'
    )
    parser.add_argument('config', help='path of a config, or the name of a shipped one')
    add_cfg_options(parser, 'train_cfg.max_epochs=10')
    args = parse(parser, argv)
    from mae.config import load_config, parse_options

    print(load_config(args.config, parse_options(args.cfg_options)).pretty_text)


def config_diff(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Print the values in which two configs differ; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Values in which two configs differ: key, first -> second.'
    )
    for name in 'first', 'second':
        parser.add_argument(name, help='path of a config, or the name of a shipped one')
    args = parse(parser, argv)
    from mae.config import load_config
    from mae.config.diff import config_differences

    found = config_differences(*(load_config(name).to_dict() for name in (args.first, args.second)))
    for one in found:
        print(f'{one.key}: {one.first!r} -> {one.second!r}')
    if not found:
        print('no value differs')


def config_new(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Write a config that inherits another; `argv` stands for the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Write a config file that inherits another and says what differs.'
    )
    parser.add_argument('file', type=Path, metavar='FILE.py', help='file to write')
    parser.add_argument(
        '--from',
        dest='base',
        required=True,
        metavar='CONFIG',
        help='what it inherits: path of a config, or the name of a shipped one',
    )
    add_cfg_options(parser, 'train_cfg.max_epochs=10')
    args = parse(parser, argv)
    if args.file.suffix != '.py':
        parser.error(f'the file must end in .py, not {args.file}')
    from mae.config import load_config, parse_options
    from mae.config.files import find_config, shipped_configs
    from mae.config.write import write_config
    from mae.utils.errors import ConfigError

    options = parse_options(args.cfg_options)
    base = find_config(args.base)
    load_config(base, options)  # what is wrong shows before anything is written
    if args.file.exists():
        raise ConfigError(f'{args.file} exists already; remove it, or give another name')
    name = base.stem if base in shipped_configs() else str(base.resolve())
    write_config(args.file, f'{base.stem}, changed.', name, options)
    print(f'wrote {args.file}; mae train {args.file} trains it')


def config_import(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Write another home's recipe as a config of ours; `argv` stands for the command line."""
    args = _import_args(argv, prog)
    from mae.config.imports import as_leaf, read_command, read_openmmlab
    from mae.utils.errors import ConfigError

    if args.command is not None:
        leaf = as_leaf(read_command(args.command, args.devices))
    else:
        leaf = as_leaf(read_openmmlab(_old_file(args.file), args.devices))
    if args.out is None:
        print(leaf.text, end='')
        return
    if args.out.exists():
        raise ConfigError(f'{args.out} exists already; remove it, or give another name')
    with whole_file(args.out) as file:
        file.write(leaf.text.encode())
    own = counted(len(leaf.values), 'value') if leaf.values else 'no value'
    print(f'wrote {args.out}: {leaf.base}, and {own} of its own')
    for line in leaf.left_out:
        print(f'not carried over: {line}')


def _import_args(argv: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description='A config that inherits the nearest shipped one and does what an MAE config of '
        "mmselfsup or mmpretrain does, or a command line of the authors' repository. Names what "
        'could not be carried over.',
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        'file', nargs='?', type=Path, metavar='OLD.py', help='config to pre-train, fine-tune, probe'
    )
    what.add_argument(
        '--command', metavar='LINE', help="such as 'main_pretrain.py --batch_size 64 --blr 1.5e-4'"
    )
    parser.add_argument(
        '--out', type=Path, metavar='NEW.py', help='file to write (default: print the config)'
    )
    parser.add_argument(
        '--devices', type=int, metavar='N', help='number of devices it was for, if it does not say'
    )
    args = parse(parser, argv)
    if args.out is not None and args.out.suffix != '.py':
        parser.error(f'--out must end in .py, not {args.out}')
    if args.devices is not None and args.devices < 1:
        parser.error(f'--devices must be at least 1, not {args.devices}')
    return args


def _old_file(path: Path) -> Path:
    from mae.utils.errors import ConfigError

    if not path.is_file():
        raise ConfigError(f'no such file: {path}')
    if path.suffix != '.py':
        raise ConfigError(f'{path} is not a config of mmselfsup or mmpretrain: these end in .py')
    return path
