"""The learning rate over the run, and whether its peak is one that such a run is known to bear."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config

from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.subject import global_batch
from mae.engine.optim.schedule import WarmupLR
from mae.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS, find
from mae.visualization.curves import Series

_POINTS = 120
# The paper's rates of AdamW, each with its batch, for a ViT-B: pre-training (appendix A.1) and
# fine-tuning. The best rate goes about with the root of the batch (Malladi et al. 2022). It falls
# with the width, by at most 1 / width (Yang et al. 2022): the root lies between that and no rule.
RATES = {'MAE': (2.4e-3, 4096), 'Classifier': (2e-3, 1024)}
_WIDTH = 768
# Times the rule: the 93 shipped configs that it is for lie between 0.34 and 2.6 of it.
_ABOVE = 3.2
_WARMUP = 0.5  # share of the run


def rate_of_rule(kind: str, batch: int, width: int) -> float | None:
    """Learning rate that suits a batch and a width; None of a model without a known one.

    Args:
        kind: type of the model.
        batch: images of a step.
        width: `embed_dim` of the encoder.
    """
    if kind not in RATES:
        return None
    rate, paper_batch = RATES[kind]
    return float(rate * (batch / paper_batch) ** 0.5 * (_WIDTH / width) ** 0.5)


def judge_rate(rate: float, rule: float) -> list[FoundFault]:
    """A peak far above the rule."""
    if rate <= _ABOVE * rule:
        return []
    what = (
        f'the rate of {rate:.2g} is {rate / rule:.1f} times the {rule:.2g} of the rule for such a '
        'batch and width'
    )
    return [FoundFault('rate_above_rule', what)]


def examine_schedule(config: Config, rate: float, width: int, steps_per_epoch: int) -> ExaminedPart:
    """Follow the rate over the run.

    Args:
        config: of the run.
        rate: peak of the run.
        width: `embed_dim` of the encoder.
        steps_per_epoch: of the run.
    """
    wrapper, length = config.optim_wrapper, run_steps(config.train_cfg, steps_per_epoch)
    findings = []
    optimizer = str(wrapper.optimizer.type)
    rule = rate_of_rule(config.model.type, global_batch(config), width)
    is_whole = config.model.get('trainable_blocks') is None
    if not is_whole or optimizer not in ('AdamW', 'Adam'):
        rule = None
    if rule is not None:
        findings += judge_rate(rate, rule)
    lines = [f'peak rate {rate:.3g}' + (f', by the rule {rule:.2g}' if rule else '')]
    facts: dict[str, Any] = {'steps': length, 'peak_rate': rate, 'rule': rule}
    curve = rates_of(config.get('param_scheduler'), rate, length, steps_per_epoch)
    curves = {}
    if curve is None:
        lines.append('not followed: a schedule of another kind than WarmupLR')
    else:
        warmup, series = curve
        lines.append(f'{length:,} steps: {warmup:,} of warm-up, then down to {series.y[-1]:.2g}')
        findings += judge_warmup(warmup, length)
        curves['Learning rate'] = series
        facts['warmup_steps'] = warmup
    return ExaminedPart('schedule', lines, findings, facts, curves)


def judge_warmup(warmup: int, length: int) -> list[FoundFault]:
    """A warm-up that is most of the run."""
    if warmup <= _WARMUP * length:
        return []
    what = f'{warmup:,} of {length:,} steps are warm-up'
    return [FoundFault('warmup_too_long', what)]


def run_steps(train_cfg: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Optimizer steps of a run."""
    steps: int = train_cfg.get('max_steps') or train_cfg['max_epochs'] * steps_per_epoch
    return steps


def rates_of(
    scheduler: Any, rate: float, length: int, steps_per_epoch: int
) -> tuple[int, Series] | None:
    """Steps of warm-up, and the rate over the steps, of one `WarmupLR`; None of another kind."""
    options = dict(scheduler[0] if isinstance(scheduler, list) else scheduler or {})
    kind = find(PARAM_SCHEDULERS, options.pop('type', None)) if options else None
    several = isinstance(scheduler, list) and len(scheduler) > 1
    if several or not (isinstance(kind, type) and issubclass(kind, WarmupLR)):
        return None
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = OPTIM_WRAPPERS.build(
        {'type': 'StepOptimWrapper', 'optimizer': torch.optim.SGD([parameter], lr=rate)}
    )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the rehearsal has said it
    try:
        if 'warmup_epochs' in options or 'warmup' not in options:
            options.pop('end', None)
            epochs = -(-length // steps_per_epoch)
            built = kind.build_iter_from_epoch(
                optimizer, epoch_length=steps_per_epoch, end=epochs, **options
            )
        else:
            built = kind(optimizer, **{**options, 'end': length})
    finally:
        logging.disable(before)
    steps = sorted({round(part * (length - 1) / _POINTS) for part in range(_POINTS + 1)})
    steps = sorted({*steps, built.warmup})  # the peak
    rates = []
    for step in steps:
        built.last_step = step
        rates.append(built._get_value()[0])
    return built.warmup, Series('', steps, rates)
