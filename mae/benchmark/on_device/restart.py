"""`tools/train.py` on the device: a run that goes on from its middle ends with the same bits."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mae.benchmark.on_device.checking import (
    MINI,
    MINI_FINETUNE,
    Check,
    CheckedDevice,
    UnfulfilledError,
)
from mae.benchmark.report import Figures
from mae.fault_tolerance.checkpoint import load_checkpoint

_KNN = 'vit-mini-p4_knn-1xb360_digits-16'
_TOOLS = Path(__file__).parents[3] / 'tools'
_COMMON = (
    'randomness.deterministic=True',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.max_keep=9',
)


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Pre-training, the same resumed; k-NN and fine-tuning from it."""
    whole, epochs = place.folder / 'whole', 2 if place.quick else 4
    warmup = 'param_scheduler.warmup_epochs=1'
    options = [*_COMMON, warmup, f'train_cfg.max_epochs={epochs}']
    last = str(whole / f'epoch_{epochs}.pth')
    yield 'pre-training', lambda: _tool('train.py', MINI, whole, *options)
    yield 'resume', lambda: _resume(whole, place.folder / 'resumed', epochs, options)
    yield 'k-NN', lambda: _tool('test.py', _KNN, place.folder / 'knn', more=[last])
    tuning = [*_COMMON, warmup, 'train_cfg.max_epochs=2']
    start = ['--load-from', last]
    tuned = place.folder / 'tuned'
    yield 'fine-tuning', lambda: _tool('train.py', MINI_FINETUNE, tuned, *tuning, more=start)


def _tool(
    name: str, config: str, work_dir: Path, *options: str, more: Sequence[str] = ()
) -> Figures:
    """Run a tool of the checkout.

    Raises:
        RuntimeError: it failed; its last line.
    """
    words = [sys.executable, str(_TOOLS / name), config, *more, '--work-dir', str(work_dir)]
    words += ['--cfg-options', *options] if options else []
    result = subprocess.run(words, capture_output=True, text=True)
    lines = (result.stdout + result.stderr).strip().splitlines()
    print('\n'.join(lines[-40:]), flush=True)
    if result.returncode:
        raise RuntimeError(lines[-1] if lines else f'exit status {result.returncode}')
    return {'exit_status': 0}


def _resume(whole: Path, work_dir: Path, epochs: int, options: Sequence[str]) -> Figures:
    """The second half again, from the checkpoint in the middle."""
    middle = str(whole / f'epoch_{epochs // 2}.pth')
    _tool('train.py', MINI, work_dir, *options, more=['--resume', middle])
    expected, found = (_weights(folder / f'epoch_{epochs}.pth') for folder in (whole, work_dir))
    errors = {name: float((found[name] - x).abs().max()) for name, x in expected.items()}
    same = all(torch.equal(found[name], x) for name, x in expected.items())
    figures = {'same_bits': same, 'largest_difference': max(errors.values())}
    if not same:
        raise UnfulfilledError(figures)
    return figures


def _weights(path: Path) -> dict[str, Tensor]:
    """Of a checkpoint, as numbers to subtract."""
    weights: dict[str, Tensor] = load_checkpoint(path)['state_dict']
    return {name: x.double().cpu() for name, x in weights.items()}
