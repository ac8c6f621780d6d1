"""Where the host waits for the device in a training step, by `torch.cuda.set_sync_debug_mode`.

Waits for events, such as that for a report two steps old, are not reported there, and right.
"""

import os
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from mae.apis import load_config
from mae.benchmark.on_device.checking import (
    MINI,
    MINI_FINETUNE,
    Check,
    CheckedDevice,
    UnfulfilledError,
)
from mae.benchmark.report import Figures
from mae.engine import Runner
from mae.utils.runner_protocol import RunnerProtocol

_SAID = 'called a synchronizing CUDA operation'
_STEPS = range(3, 20)  # those watched, from the third on: kernels are loaded by then
_PACKAGE = Path(__file__).parents[2]
_MIXED = {
    'model.preprocessor.mixup': {'mixup_alpha': 0.8, 'cutmix_alpha': 1.0, 'label_smoothing': 0.1},
    'model.preprocessor.erase': {'prob': 0.25, 'mode': 'pixel'},
    'global_batch_size': 64,
    'train_dataloader.batch_size': 64,
}
_CLIPPED = {'optim_wrapper.clip_grad': {'max_norm': 1.0}}


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Pre-training; fine-tuning with drop path, mixup and erasing; clipping."""
    for name, config, changes in (
        ('pre-training', MINI, {}),
        ('fine-tuning', MINI_FINETUNE, _MIXED),
        ('clipping', MINI, _CLIPPED),
    ):
        yield name, partial(_train, place, name, config, changes)


def _train(place: CheckedDevice, name: str, config: str, changes: dict[str, Any]) -> Figures:
    """One epoch through the runner, on a GPU in bf16; the lines that wait, and how often."""
    short = {
        'optim_wrapper.amp': 'bfloat16' if place.on_gpu else None,
        'train_cfg.max_epochs': 1,
        'param_scheduler.warmup_epochs': 0,
        'default_hooks.logger.interval': 100,
    }
    options = load_config(config, {**short, **changes})
    options.work_dir = str(place.folder / name)
    options.experiment_name = f'waits-{name}'
    for part in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        options[part] = None
    runner = Runner.from_cfg(options)
    hook = WaitsHook(watch=place.on_gpu)
    runner.register_hook(hook, priority='HIGHEST')
    runner.train()
    figures = {'steps': hook.steps, 'waits': hook.places.total(), 'places': dict(hook.places)}
    if hook.places:
        raise UnfulfilledError(figures)
    return figures if place.on_gpu else {**figures, 'waits': None}  # a CPU is not waited for


class WaitsHook(Hook):
    """Notes where a training step waits for the device, from before one step to after another.

    Args:
        watch: False only counts steps, where CUDA is not at hand.

    Attributes:
        places: number of waits, by line of our code.
        steps: number of steps watched.
    """

    def __init__(self, *, watch: bool) -> None:
        self.places: Counter[str] = Counter()
        self.steps = 0
        self._watch = watch
        self._watching: Any = None

    def before_train_iter(
        self, runner: RunnerProtocol, batch_idx: int, data_batch: object = None
    ) -> None:
        """Begin or go on to watch, what lies between two steps included."""
        if batch_idx in _STEPS:
            self.steps += 1
        if batch_idx == _STEPS.start:
            self._watching = waits_noted(self.places, watch=self._watch)
            self._watching.__enter__()
        if batch_idx == _STEPS.stop:
            self.close()

    def after_train_epoch(self, runner: RunnerProtocol) -> None:
        """An epoch may be shorter."""
        self.close()

    def close(self) -> None:
        """Watch no longer."""
        if self._watching is not None:
            self._watching.__exit__(None, None, None)
            self._watching = None


@contextmanager
def waits_noted(places: Counter[str], *, watch: bool = True) -> Iterator[None]:
    """Count waits for a GPU, by the innermost line of ours that led to one.

    Args:
        places: gets them.
        watch: False leaves the GPU's mode alone.
    """

    show: Any = warnings.showwarning

    def note(message: Warning | str, *details: Any, **options: Any) -> None:
        if _SAID in str(message):
            places[_line_of_ours()] += 1
        else:
            show(message, *details, **options)

    with warnings.catch_warnings():
        warnings.filterwarnings('always', message=_SAID)
        warnings.showwarning = note
        if watch:
            torch.cuda.set_sync_debug_mode('warn')
        try:
            yield
        finally:
            if watch:
                torch.cuda.set_sync_debug_mode('default')


def _line_of_ours() -> str:
    frames = [
        f for f in traceback.extract_stack()[:-2] if f.filename.startswith(f'{_PACKAGE}{os.sep}')
    ]
    if not frames:
        return 'elsewhere'
    return f'{Path(frames[-1].filename).relative_to(_PACKAGE.parent)}:{frames[-1].lineno}'
