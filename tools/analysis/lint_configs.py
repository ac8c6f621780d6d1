"""Check recipes: each config loads, builds and keeps what its name promises."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse
from mae.utils.text import counted


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit code 1 if a rule is broken, with one line FILE: KEY: WHAT for each.',
    )
    parser.add_argument(
        'paths',
        nargs='*',
        metavar='PATH',
        help='configs, metafiles or folders of them (default: all that are shipped)',
    )
    return parse(parser, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Lint; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.config.lint import lint

    files = find_files(args.paths)
    violations = [violation for file in files for violation in lint(file)]
    for violation in violations:
        print(violation)
    print(f'{counted(len(files), "file")} checked, {counted(len(violations), "rule")} broken')
    if violations:
        sys.exit(1)


def find_files(paths: Sequence[str]) -> list[Path]:
    """Configs and metafiles at `paths`, or all that are shipped.

    Raises:
        ConfigError: there is none.
    """
    from mae.config import find_config, shipped_configs

    if not paths:
        leaves = shipped_configs()
        return [*leaves, *sorted({p for leaf in leaves for p in leaf.parent.glob('metafile.yml')})]
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            found = [*path.rglob('*.py'), *path.rglob('metafile.yml')]
            files += sorted(file for file in found if '_base_' not in file.parts)
        else:
            files.append(path if path.suffix == '.yml' else find_config(path))
    return files


if __name__ == '__main__':
    from mae.apis.cli import run_command

    run_command(main)
