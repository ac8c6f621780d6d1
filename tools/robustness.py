"""Evaluate a fine-tuned model on ImageNet-C, -A, -R, -Sketch, -V2 and ReaL, if on the disk.

Prints a table with the published numbers, and writes robustness.json, .md and .html.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import parse
from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='fine-tuned weights: path, published name or address')
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        metavar='ROOT',
        help='folder with imagenet-c, imagenet-a, imagenet-r, sketch, ... in it',
    )
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the table here too')
    parser.add_argument('--markdown', type=Path, metavar='FILE.md', help='write the table here too')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/robustness/<checkpoint>')
    parser.add_argument(
        '--model', choices=['base', 'large', 'huge'], help='refuse weights of another size'
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='evaluate ImageNet-C without its missing parts; the mean is then not called mCE',
    )
    parser.add_argument(
        '--configs', type=Path, metavar='FOLDER', help='default: configs/robustness'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='change every config, e.g. test_dataloader.batch_size=32',
    )
    add_trust_argument(parser)
    args = parse(parser, argv)
    for option, suffix in (('out', '.json'), ('markdown', '.md')):
        path = getattr(args, option)
        if path is not None and path.suffix != suffix:
            parser.error(f'--{option} must end in {suffix}, not {path}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate all sets; `argv` stands for the command line."""
    args = parse_args(argv)
    from mae.config import parse_options
    from mae.protocol.robustness import evaluate_robustness, identify_model
    from mae.protocol.robustness_table import html_page, markdown_page
    from mae.utils.files import whole_file, write_json

    model = identify_model(args.checkpoint, args.model)
    work_dir = args.work_dir or Path('work_dirs/robustness', Path(args.checkpoint).stem)
    table = evaluate_robustness(
        model,
        args.data,
        work_dir,
        configs=args.configs,
        options=parse_options(args.cfg_options),
        allow_missing=args.allow_missing,
    )
    words = ['python', os.path.relpath(__file__), *(sys.argv[1:] if argv is None else argv)]
    command = shlex.join(map(str, words))
    table = {'command': command, **table}
    for path in (work_dir / 'robustness.json', args.out):
        if path is not None:
            write_json(path, table)
    texts = {work_dir / 'robustness.html': html_page(table, command)}
    for path in filter(None, (work_dir / 'robustness.md', args.markdown)):
        texts[path] = markdown_page(table, command)
    for path, text in texts.items():
        with whole_file(path) as file:
            file.write(text.encode())
    _show(table)
    print(f'table: {work_dir / "robustness.md"}, .json and .html')


def _show(table: dict[str, object]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mae.protocol.robustness_table import TABLE_HEAD, table_cells, table_remarks

    shown = Table(*TABLE_HEAD)
    for row in table['rows']:
        shown.add_row(*table_cells(row))
    Console().print(shown)
    for remark in table_remarks(table):
        print(remark)


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
