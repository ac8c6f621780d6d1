"""Whether the model learns: twenty steps on one batch, its gradients, and its masks.

Shapes: B images, L patches, M predicted patches, T values predicted of a patch.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor

from mae.benchmark.measure import synchronize
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.subject import Subject, global_batch
from mae.models.masking.grid import GridMasker
from mae.utils.hashing import derive, sample_keys
from mae.utils.seeding import seed_generators
from mae.visualization.curves import Series

STEPS = 20
FEWEST_STEPS = 6
_LAST = 3  # steps, whose mean counts
_FALL = 0.005  # share of the first loss by which it must fall in all steps, in fewer by less
_RISE = 1.5  # times the first loss: beyond, the steps are too long
_RAMP = 5  # steps of a warm-up
_LESS = 0.1  # of the rate, for the second try
_MASKS = 64  # images whose masks are compared
_ALIKE = 0.5  # share of them that may be alike, for small grids


@dataclass(frozen=True)
class Steps:
    """What steps on one batch gave.

    Attributes:
        losses: before each step, and after the last.
        rate: learning rate after the ramp.
    """

    losses: Sequence[float]
    rate: float

    @property
    def falls(self) -> bool:
        """Whether the loss falls, and never rises far above its start."""
        first, last = self.losses[0], self.losses[-_LAST:]
        if not all(map(math.isfinite, self.losses)):
            return False
        share = _FALL * (len(self.losses) - 1) / STEPS
        is_low = sum(last) / len(last) < first - share * abs(first)
        return is_low and max(self.losses) <= _RISE * abs(first)


def examine_learning(subject: Subject, peak_rate: float, seconds: float) -> ExaminedPart:
    """Take the steps, and look at what they leave.

    Args:
        subject: what is examined; its weights change.
        peak_rate: highest learning rate of the run.
        seconds: about as long as the steps may take.
    """
    batch = next(subject.loader.epoch(0))[0]
    before = copy.deepcopy(subject.model.state_dict())
    loss, update, findings = look_at_gradients(subject, batch)
    lines = [f'loss of {_named(subject, batch)}: {loss:.4g} with the weights of the start']
    facts: dict[str, Any] = {
        'batch': len(batch['ids']),
        'first_loss': loss,
        'update_seconds': update,
    }
    if (mean := loss_of_mean(subject.model, batch)) is not None:
        facts['loss_of_mean'] = mean
        lines.append(
            f'{mean:.4g} for predicting {_mean_of(subject.model)}, which it must get below'
        )
    if hasattr(subject.model, 'masker'):
        findings += judge_masks(*masks_of(subject), subject.model.masker)
    curves = {}
    if math.isfinite(loss):
        cost = subject.probe.seconds * len(batch['ids'])
        number = max(FEWEST_STEPS, min(STEPS, int(seconds / cost)))
        rate = peak_rate * (len(batch['ids']) / global_batch(subject.config)) ** 0.5
        first = take_steps(subject, batch, rate, number, seconds)
        number = len(first.losses) - 1
        lines.append(
            f'{first.losses[-1]:.4g} after {number} steps on them, at a rate of {rate:.2g}'
        )
        findings += _judge_steps(subject, batch, first, before)
        facts |= {'losses': list(first.losses), 'rate': rate}
        curves['Loss of one batch'] = Series('', range(number + 1), first.losses)
    subject.model.load_state_dict(before)
    return ExaminedPart('learning', lines, findings, facts, curves)


def _named(subject: Subject, batch: dict[str, Any]) -> str:
    kind = 'random images' if subject.is_random else 'images'
    of = '' if subject.plan.is_whole else f' (of {global_batch(subject.config)}, for the time)'
    return f'{len(batch["ids"])} {kind}{of}'


def _mean_of(model: Any) -> str:
    return 'the mean patch' if hasattr(model, 'target') else 'all classes alike'


def look_at_gradients(
    subject: Subject, batch: dict[str, Any]
) -> tuple[float, float, list[FoundFault]]:
    """One pass forward and backward, which changes no weight.

    Returns:
        The loss, seconds of an update, and gradients that are missing or not finite.
    """
    model = subject.model.train()
    seed_generators(derive(subject.runner.seed, 0))
    wrapper = _wrapper(subject)
    with wrapper.optim_context(model):
        inputs = model.data_preprocessor(_moved(subject, batch), True)
        total: Tensor = model.parse_losses(model(**inputs, mode='loss'))[0]
    total.backward()
    trained = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad]
    loss = float(total.detach())
    findings = [*judge_loss(loss), *judge_gradients(trained, hasattr(model, 'num_classes'))]
    update = update_seconds(wrapper.optimizer)
    model.zero_grad(set_to_none=True)
    return loss, update, findings


def update_seconds(optimizer: torch.optim.Optimizer) -> float:
    """Seconds of an optimizer's step at a rate of 0, with the gradients that are there."""
    for group in optimizer.param_groups:
        group['lr'] = 0.0
    optimizer.step()  # makes the averages
    synchronize(get_device())
    start = time.perf_counter()
    optimizer.step()
    synchronize(get_device())
    return time.perf_counter() - start


def judge_loss(loss: float) -> list[FoundFault]:
    """A loss that is no number."""
    what = f'the loss of the first batch is {loss}'
    return [] if math.isfinite(loss) else [FoundFault('loss_not_finite', what)]


def judge_gradients(
    gradients: Sequence[tuple[str, Tensor | None]], needs_few: bool = False
) -> list[FoundFault]:
    """Gradients that are not finite or not there.

    Args:
        gradients: by name of each trained parameter.
        needs_few: some may be missing, as of a detector for a batch without objects.
    """
    bad = [name for name, grad in gradients if grad is not None and not grad.isfinite().all()]
    none = [name for name, grad in gradients if grad is None]
    findings = []
    if bad:
        what = f'{len(bad)} of {len(gradients)} gradients are not finite, such as of {bad[0]}'
        findings.append(FoundFault('gradients_not_finite', what))
    if none and (not needs_few or len(none) == len(gradients)):
        what = f'{len(none)} of {len(gradients)} parameters get no gradient, such as {none[0]}'
        findings.append(FoundFault('without_gradient', what))
    return findings


@torch.no_grad()
def loss_of_mean(model: Any, batch: dict[str, Any]) -> float | None:
    """Loss of a model that knows no more than the mean of its targets; None of dense models."""
    if hasattr(model, 'target'):
        inputs = model.data_preprocessor(batch, False)
        pred, target = model.reconstruct_patches(inputs['inputs'], inputs['keys'])[1:3]
        if target.shape != pred.shape or not target.is_floating_point():
            return None
        constant = target.mean((0, 1), keepdim=True).expand_as(target)  # B,M,T
        return float(model.loss(constant, target).mean())
    if type(model).__name__ == 'Classifier':
        return math.log(model.num_classes)
    return None


def masks_of(subject: Subject) -> tuple[Tensor, Tensor]:
    """Masks (B, L) of some images in the first two epochs, 1 where hidden."""
    masker, grid = subject.model.masker, subject.model.encoder.grid_size
    ids = torch.arange(_MASKS)
    keys = [sample_keys(subject.runner.seed, epoch, ids) for epoch in (0, 1)]
    device = next(subject.model.parameters()).device
    first, second = (masker(grid, each.to(device)).dense() for each in keys)
    return first, second


def judge_masks(first: Tensor, second: Tensor, masker: object) -> list[FoundFault]:
    """Masks that are alike among images, or from one epoch to the next.

    Args:
        first: (B, L), of different images.
        second: (B, L), of the same images in the next epoch.
        masker: that made them.
    """
    different = len(first.unique(dim=0))
    repeated = int((first == second).all(1).sum())
    if isinstance(masker, GridMasker):
        return [FoundFault('masks_fixed', 'GridMasker hides the same patches always')]
    if different > (1 - _ALIKE) * len(first) and repeated < _ALIKE * len(first):
        return []
    what = (
        f'{len(first)} images have {different} different masks, and {repeated} of them the same '
        'in the next epoch'
    )
    return [FoundFault('masks_equal', what)]


def take_steps(
    subject: Subject, batch: dict[str, Any], rate: float, number: int, seconds: float = math.inf
) -> Steps:
    """Steps on one batch, up to a rate; each with the same masks and augmentation.

    Args:
        subject: what is examined; its weights change.
        batch: as collated.
        rate: of the largest group, after the ramp.
        number: of steps.
        seconds: after which there are no more, but for `FEWEST_STEPS`.
    """
    start = time.perf_counter()
    wrapper = _wrapper(subject)
    groups = wrapper.param_groups
    top = max(group['lr'] for group in groups) or 1.0
    shares = [group['lr'] / top for group in groups]
    losses = []
    for step in range(number):
        if step >= FEWEST_STEPS and time.perf_counter() - start > seconds:
            break
        for group, share in zip(groups, shares, strict=True):
            group['lr'] = rate * share * min(1.0, (step + 1) / _RAMP)
        seed_generators(derive(subject.runner.seed, 0))
        wrapper.begin_step([1.0])
        losses.append(float(subject.model.train_step(_moved(subject, batch), wrapper)['loss']))
    with torch.no_grad(), wrapper.optim_context(subject.model):
        seed_generators(derive(subject.runner.seed, 0))
        inputs = subject.model.data_preprocessor(_moved(subject, batch), True)
        total = subject.model.parse_losses(subject.model(**inputs, mode='loss'))[0]
    return Steps([*losses, float(total)], rate)


def _judge_steps(
    subject: Subject, batch: dict[str, Any], first: Steps, before: dict[str, Any]
) -> list[FoundFault]:
    if first.falls:
        return []
    subject.model.load_state_dict(before)
    second = take_steps(subject, batch, _LESS * first.rate, len(first.losses) - 1)
    return judge_steps(first, second)


def judge_steps(first: Steps, second: Steps) -> list[FoundFault]:
    """What a loss that does not fall comes from: the rate, if it falls with a tenth of it."""
    went = f'the loss of one batch goes from {first.losses[0]:.4g} to {first.losses[-1]:.4g}'
    if math.isfinite(max(first.losses)):
        went += f' (at most {max(first.losses):.4g})'
    if second.falls:
        what = f'{went} at a rate of {first.rate:.2g}, and falls at {second.rate:.2g}'
        return [FoundFault('rate_too_high', what)]
    what = f'{went} in {len(first.losses) - 1} steps, and does not fall at a tenth of the rate'
    return [FoundFault('does_not_learn', what)]


def _wrapper(subject: Subject) -> Any:
    options = copy.deepcopy(subject.runner.cfg.optim_wrapper)
    return subject.runner.build_optim_wrapper(options)


def _moved(subject: Subject, batch: dict[str, Any]) -> dict[str, Any]:
    return subject.loader.prefetcher.to_device(batch)
