"""Hours to the end of the run, and what its checkpoints take on the disk."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mae.apis.schedule_picture import LearningRates
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.pace import Pace
from mae.doctor.subject import Subject, global_batch
from mae.doctor.words import duration
from mae.fault_tolerance.checkpoint import checkpoint_bytes
from mae.utils.text import counted, readable_size

_FORWARD = 1 / 3  # of a step's time, for a validation that was not run
_DEVICES = re.compile(r'_(?:[a-z-]*-)?(\d+)xb\d+')


@dataclass(frozen=True)
class Length:
    """What a run does.

    Attributes:
        steps: of the optimizer.
        epochs: whole ones.
        validations: runs of the validation.
        val_images: of one.
    """

    steps: int
    epochs: int
    validations: int
    val_images: int


def length_of(
    config: Mapping[str, Any], steps: int, steps_per_epoch: int, val_images: int
) -> Length:
    """Count the epochs and validations of a run."""
    loop = config['train_cfg']
    epochs = -(-steps // steps_per_epoch)
    if not val_images:
        return Length(steps, epochs, 0, 0)
    interval = loop.get('val_interval', 1)
    units = steps if loop.get('max_steps') else epochs
    begin = 1 if loop.get('max_steps') else loop.get('val_begin', 1)
    due = {unit for unit in range(interval, units + 1, interval) if unit >= begin} | {units}
    return Length(steps, epochs, len(due), val_images)


def seconds_to_end(length: Length, pace: Pace, update: float, total: int, measured: int) -> float:
    """Seconds of a run.

    Args:
        length: of the run.
        pace: of the trial run.
        update: seconds of the optimizer's update, once a step.
        total: images of a step of the run.
        measured: images of a step of the trial run.
    """
    each = (pace.step - update) / measured
    step = pace.step if total == measured else update + total * each
    validation = pace.validation
    if validation is None:
        validation = length.val_images * each * _FORWARD
    return (
        length.steps * step
        + length.epochs * (pace.epoch_end or 0.0)
        + length.validations * validation
    )


def judge_disk(checkpoint: int, kept: int, free: int) -> list[FoundFault]:
    """A disk that does not hold the checkpoints that stay, and one that is being written.

    Args:
        checkpoint: bytes of one.
        kept: number of those that stay.
        free: bytes of the disk.
    """
    needed = (kept + 1) * checkpoint
    if needed <= free or not kept:
        return []
    what = (
        f'{counted(kept, "checkpoint")} of {readable_size(checkpoint)} must stay while another is '
        f'written, {readable_size(needed)}, and {readable_size(free)} are free'
    )
    return [FoundFault('disk_too_small', what)]


def examine_cost(
    subject: Subject, pace: Pace | None, update: float, rates: LearningRates
) -> ExaminedPart:
    """Hours and bytes of the run.

    Args:
        subject: what is examined.
        pace: of the trial run; None where it failed.
        update: seconds of the optimizer's update.
        rates: of the run, one a step.
    """
    config = subject.config
    checkpoint = checkpoint_bytes(subject.model)
    kept = checkpoints_kept(config, rates.steps, rates.steps_per_epoch)
    findings = judge_disk(checkpoint, kept, subject.host.disk)
    stay = f'{kept} stay' if kept else 'none is written'
    lines = [f'a checkpoint takes {readable_size(checkpoint)}, and {stay}']
    facts: dict[str, Any] = {'checkpoint_bytes': checkpoint, 'checkpoints': kept}
    if subject.is_random:
        lines.insert(0, 'hours unknown, as the number of images is')
    if pace is not None and pace.step:
        total, measured = global_batch(config), subject.plan.global_batch
        val = 0 if subject.val_dataset is None else len(subject.val_dataset)
        length = length_of(config, rates.steps, rates.steps_per_epoch, val)
        seconds = seconds_to_end(length, pace, update, total, measured)
        million = 1e6 / total * (seconds / length.steps)
        facts['hours_per_million_images'] = million / 3600
        if subject.is_random:
            lines.insert(1, f'a million images take {duration(million)} of one device')
        else:
            facts |= {'hours': seconds / 3600, 'device_hours': seconds / 3600}
            lines.insert(0, _length_line(config, length, seconds))
    return ExaminedPart('cost', lines, findings, facts)


def checkpoints_kept(config: Mapping[str, Any], steps: int, steps_per_epoch: int) -> int:
    """Checkpoints that lie in the work dir at the end; 0 of a run that writes none."""
    hook = (config.get('default_hooks') or {}).get('checkpoint', {})
    if hook is None:
        return 0
    kept: int = hook.get('max_keep', 2)
    if kept > 0:
        return max(2, kept) + bool(hook.get('save_best'))
    interval = max(1, hook.get('interval', 1))
    if hook.get('by', 'epoch') == 'epoch':
        interval *= steps_per_epoch
    return int(-(-steps // interval)) + bool(hook.get('save_best'))


def _length_line(config: Any, length: Length, seconds: float) -> str:
    run = f'{counted(length.steps, "step")}, {counted(length.epochs, "epoch")}'
    line = f'{run}: {duration(seconds)} on one device'
    name = str(getattr(config, 'filename', '') or '')
    found = _DEVICES.search(name)
    if found and int(found[1]) > 1:
        devices = int(found[1])
        line += f'; on {devices} such devices about {duration(seconds / devices)}'
    return line
