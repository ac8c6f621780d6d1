"""Evaluate a checkpoint as a config describes: top-1 and top-5, k-NN, mIoU, or AP."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mae.utils.command_line import add_cfg_options, add_launcher, parse, say_reading
from mae.utils.trust import add_trust_argument


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('config', help='path of a config, or the name of a shipped one')
    parser.add_argument('checkpoint', help='weights to evaluate: path, published name or address')
    parser.add_argument('--work-dir', help='where logs go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE.json',
        help='write the metrics here as well, of segmenters and detectors those of each class too',
    )
    add_cfg_options(parser, 'test_dataloader.batch_size=32')
    add_launcher(parser)
    add_trust_argument(parser)
    args = parse(parser, argv)
    if args.out is not None and args.out.suffix != '.json':
        parser.error(f'--out must end in .json, not {args.out}')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Evaluate; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    say_reading(args.config)
    from mae.config import load_config, parse_options

    options = {**parse_options(args.cfg_options), 'launcher': args.launcher}
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = load_config(args.config, options)
    if not config.get('test_dataloader'):
        raise ValueError(f'{config.filename} describes no test: it has no test_dataloader')
    name = Path(config.filename).stem
    config.work_dir = args.work_dir or config.get('work_dir') or f'work_dirs/{name}'

    from mmengine.dist import is_main_process  # late: what is wrong with the config shows before

    from mae.apis.runs import test_with_classes
    from mae.fault_tolerance.work_dir import tidy_start
    from mae.utils.files import write_json

    with tidy_start(config.work_dir):
        result = test_with_classes(config, args.checkpoint)
    if args.out is not None and is_main_process():
        per_class = {'per_class': result.per_class} if result.per_class else {}
        write_json(args.out, {**result.metrics, **per_class})
