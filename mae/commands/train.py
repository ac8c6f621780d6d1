"""Train what a config describes: pre-training, fine-tuning, linear probe, from scratch."""

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
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)'
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='continue a run: from PATH, or from the newest checkpoint of the work dir',
    )
    start.add_argument(
        '--load-from', metavar='CHECKPOINT', help='start from these weights, as in fine-tuning'
    )
    parser.add_argument(
        '--resume-anyway',
        nargs='+',
        action='extend',
        metavar='NAME',
        help='resume with another seed, global_batch_size, num_samples, dataset or teacher',
    )
    parser.add_argument('--seed', type=int, help='seed of everything random in the run')
    parser.add_argument(
        '--batch-per-device',
        type=int,
        metavar='N',
        help='images that fit a device; accumulation keeps the global batch',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='let the global batch follow the number of devices, and the learning rate follow it',
    )
    add_cfg_options(parser, 'train_cfg.max_epochs=10 optim_wrapper.amp=None')
    add_launcher(parser)
    add_trust_argument(parser)
    return parse(parser, argv)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Train; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    say_reading(args.config)
    from mae.config import load_config, parse_options

    options = {**parse_options(args.cfg_options), 'launcher': args.launcher}
    if args.resume:
        options['resume'] = True
        options['load_from'] = None if args.resume == 'auto' else args.resume
    if args.resume_anyway:
        options['resume_anyway'] = args.resume_anyway
    if args.load_from:
        options['load_from'] = args.load_from
    if args.seed is not None:
        options['randomness.seed'] = args.seed
    if args.batch_per_device is not None:
        options['train_dataloader.batch_size'] = args.batch_per_device
    if args.auto_scale_lr:
        options['auto_scale_lr.enable'] = True
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = load_config(args.config, options)
    name = Path(config.filename).stem
    config.work_dir = args.work_dir or config.get('work_dir') or f'work_dirs/{name}'

    from mae.apis import train  # late: what is wrong with the config shows before

    train(config)
