"""`autopsy_step_N.json`: a step whose loss or gradients were not finite, and how to repeat it."""

import math
import os
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from torch import Tensor, nn
from torch.optim import Optimizer

from mae.fault_tolerance.checkpoint import list_checkpoints
from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.step_report import StepReport
from mae.utils.files import write_json


class ProcessStep(TypedDict):
    """A step in one process: losses of its micro-batches, ids and keys of its samples."""

    rank: int
    losses: list[float]
    ids: list[int]
    keys: list[int]


def write_autopsy(
    runner: TrainingRunner,
    report: StepReport,
    processes: Sequence[ProcessStep],
    grad_norms: dict[str, float],
    *,
    lr: float,
) -> Path:
    """Write the file into the work dir.

    Args:
        grad_norms: L2 norm by module.
        lr: the largest learning rate in the step.

    Returns:
        The path of the file.
    """
    step = report.step
    path = Path(runner.work_dir) / f'autopsy_step_{step}.json'
    epoch, within = divmod(step, len(runner.train_dataloader))
    scaler = runner.optim_wrapper.state_dict().get('loss_scaler')
    content = {
        'step': step,
        'epoch': epoch,
        'step_in_epoch': within,
        'loss': report.loss,
        'lr': lr,
        'loss_scaler': scaler,
        'processes': processes,
        'grad_norms': grad_norms,
        'replay': replay_command(runner, step),
    }
    write_json(path, content)
    return path


def norms_by_module(
    model: nn.Module, optimizer: Optimizer, norms: Tensor | None
) -> dict[str, float]:
    """L2 norm of the gradients of each module that has parameters of its own.

    Args:
        norms: (number of parameters,) in the order of the optimizer's groups, or None.
    """
    if norms is None:
        return {}
    names = {id(param): name for name, param in model.named_parameters()}
    moved = [names[id(p)] for group in optimizer.param_groups for p in group['params']]
    if len(moved) != len(norms):  # some had no gradient
        return {}
    squares: dict[str, float] = defaultdict(float)
    for name, norm in zip(moved, norms.tolist(), strict=True):
        squares[name.rpartition('.')[0]] += norm * norm
    return {name: math.sqrt(square) for name, square in sorted(squares.items())}


def replay_command(runner: TrainingRunner, step: int) -> str:
    """The command line that repeats the training up to `step`, in a folder of its own."""
    work_dir = Path(runner.work_dir)
    config = work_dir / f'{Path(runner.cfg.filename or "config.py").stem}.py'
    words = ['tools/dist_train.sh', str(config), str(runner.world_size)]
    if not runner.distributed:
        words = [Path(sys.executable).name, 'tools/train.py', str(config)]
    words += ['--work-dir', str(work_dir / f'replay_step_{step}')]
    saved = list_checkpoints(work_dir, len(runner.train_dataloader))
    before = [found for found in saved if 0 <= found.step <= step]
    if before:
        words += ['--resume', str(before[0].path)]
    threads = os.environ.get('OMP_NUM_THREADS')
    return f'OMP_NUM_THREADS={threads} {shlex.join(words)}' if threads else shlex.join(words)
