"""Examine a run before it starts: machine, data, labels, loss, pace, memory, hours, disk.

Ends with status 0 if there is nothing above a note, 3 after warnings, 4 after errors; 1 if the
config cannot be examined at all.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_cfg_options, parse
from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('config', help='path of a config, or the name of a shipped one')
    parser.add_argument(
        '--work-dir',
        help='of the run, whose disk is looked at; nothing is written there '
        '(default: work_dirs/<config name>)',
    )
    parser.add_argument('--html', type=Path, metavar='FILE.html', help='write a page as well')
    parser.add_argument('--json', type=Path, metavar='FILE.json', help='write all figures as well')
    parser.add_argument(
        '--seconds',
        type=float,
        default=60.0,
        metavar='N',
        help='time for steps of training (default: %(default)g); building and looking at data '
        'come on top',
    )
    add_cfg_options(parser, 'train_dataloader.dataset.source.root=photos')
    add_trust_argument(parser)
    args = parse(parser, argv)
    for option in ('html', 'json'):
        path = getattr(args, option)
        if path is not None and path.suffix != f'.{option}':
            parser.error(f'--{option} must end in .{option}, not {path}')
    if not args.seconds > 0:
        parser.error(f'--seconds must be positive, not {args.seconds:g}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Examine; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.config import load_config, parse_options
    from mae.utils.files import make_folder, require_writable, write_json, write_text

    for path in filter(None, (args.html, args.json)):
        require_writable(path)  # before all that takes time
    config = load_config(args.config, parse_options(args.cfg_options))
    name = Path(config.filename).stem
    config.work_dir = args.work_dir or config.get('work_dir') or f'work_dirs/{name}'
    print(f'examining {name}', flush=True)

    from mae.doctor import examine_run  # late: what is wrong with the config shows before
    from mae.doctor.render import as_page, part_lines, verdict

    result = examine_run(
        config,
        seconds=args.seconds,
        tell=lambda part: print('\n'.join(part_lines(part)), flush=True),
    )
    print(verdict(result))
    if args.json is not None:
        write_json(args.json, result.as_dict())
    if args.html is not None:
        words = shlex.join(sys.argv[1:] if argv is None else argv)
        make_folder(args.html.parent)
        write_text(args.html, as_page(result, f'{prog or "mae doctor"} {words}'))
    sys.exit(result.exit_code)
