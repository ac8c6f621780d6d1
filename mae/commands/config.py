"""Configs as text: all values of one, the differences of two, a new one that inherits another."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_cfg_options, parse


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
