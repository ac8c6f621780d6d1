"""The learning rate over the run, and whether its peak is one that such a run is known to bear."""

from typing import Any

from mmengine.config import Config

from mae.apis.pretrain_rules import PAPER_BATCH, PAPER_LR
from mae.apis.schedule_picture import LearningRates
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.subject import global_batch
from mae.utils.ratio import evenly_spaced
from mae.visualization.curves import Series

_POINTS = 120
# The paper's rates of AdamW, each with its batch, for a ViT-B: pre-training (appendix A.1) and
# fine-tuning. The best rate goes about with the root of the batch (Malladi et al. 2022). It falls
# with the width, by at most 1 / width (Yang et al. 2022): the root lies between that and no rule.
RATES = {'MAE': (PAPER_LR, PAPER_BATCH), 'Classifier': (2e-3, 1024)}
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


def examine_schedule(config: Config, rates: LearningRates, width: int) -> ExaminedPart:
    """Follow the rate over the run.

    Args:
        config: of the run.
        rates: of the run.
        width: `embed_dim` of the encoder.
    """
    rate = max(rates.highest)
    warmup, last = rates.highest.index(rate), rates.highest[-1]
    findings = judge_warmup(warmup, rates.steps)
    rule = rate_of_rule(config.model.type, global_batch(config), width)
    is_whole = config.model.get('trainable_blocks') is None
    optimizer = str(config.optim_wrapper.optimizer.type)
    if rule is not None and is_whole and optimizer in ('AdamW', 'Adam'):
        findings += judge_rate(rate, rule)
    lines = [
        f'peak rate {rate:.3g}' + (f', by the rule {rule:.2g}' if rule else ''),
        f'{rates.steps:,} steps: the peak at step {warmup:,}, {last:.2g} at the end',
    ]
    facts: dict[str, Any] = {
        'steps': rates.steps,
        'peak_rate': rate,
        'rule': rule,
        'warmup_steps': warmup,
    }
    steps = sorted({*evenly_spaced(rates.steps, _POINTS), warmup})
    curve = Series('', steps, [rates.highest[step] for step in steps])
    return ExaminedPart('schedule', lines, findings, facts, {'Learning rate': curve})


def judge_warmup(warmup: int, length: int) -> list[FoundFault]:
    """A warm-up that is most of the run."""
    if warmup <= _WARMUP * length:
        return []
    what = f'{warmup:,} of {length:,} steps are warm-up'
    return [FoundFault('warmup_too_long', what)]
