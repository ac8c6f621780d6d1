"""Loading weights into a model, telling what matched and refusing what does not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mae.fault_tolerance.checkpoint.agree import compare_facts, facts_of
from mae.fault_tolerance.checkpoint.head import remap_head
from mae.utils.errors import CheckpointError

Suggest = Callable[[Mapping[str, Tensor]], str | None]

# A pre-trained model is loaded for its encoder: the head is new, the decoder goes, and with it
# the encoder's last norm where the head brings its own.
MAY_MISS = ('decoder.', 'head.')
MAY_REMAIN = ('decoder.', 'head.', 'encoder.norm.')


@dataclass
class LoadReport:
    """What became of the weights of a checkpoint."""

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f'{len(self.matched)} weights loaded']
        if self.missing:
            parts.append(f'{len(self.missing)} start fresh ({_groups(self.missing)})')
        if self.unexpected:
            parts.append(f'{len(self.unexpected)} left out ({_groups(self.unexpected)})')
        return '; '.join([', '.join([*parts, *self.adapted]), *self.notes])


def fit_weights(
    model: nn.Module,
    weights: dict[str, Tensor],
    path: Path,
    *,
    exact: bool = False,
    facts: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
    classes: Sequence[str] | None = None,
    suggest: Suggest | None = None,
) -> LoadReport:
    """Load `weights` into `model`, whole or not at all.

    Args:
        model: to be filled; `adapt_weights(weights, grid_size)`, if it has it, fits those of
            another size, and `get_facts()` is compared with `facts`.
        weights: by name.
        path: where they came from, for messages.
        exact: allow neither missing nor left-over weights, as when testing or resuming; else
            the decoder and the head may differ, as when fine-tuning a pre-trained model.
        facts: what is known of the model that the weights are of, as from `load_weights`.
        notes: lines for the report, as from `load_weights`.
        classes: names that the head is to tell apart: with `facts['classes']` its rows are taken
            by name. Not with `exact`.
        suggest: names a config whose model would fit such weights; None: no error names one.

    Raises:
        CheckpointError: names, shapes or facts do not fit; the first few are listed, and a config
            that would fit.
    """
    weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    try:
        return _fit(model, dict(weights), path, exact, facts or {}, notes, classes)
    except CheckpointError as error:
        config = suggest(weights) if suggest else None
        hint = f'; it looks like a file for {config}' if config else ''
        raise CheckpointError(f'{error}{hint}') from None


def _fit(
    model: nn.Module,
    weights: dict[str, Tensor],
    path: Path,
    exact: bool,
    facts: Mapping[str, Any],
    notes: Iterable[str],
    classes: Sequence[str] | None,
) -> LoadReport:
    own = model.state_dict()
    if _has_encoder(own) and not _has_encoder(weights):
        raise CheckpointError(
            f'{path} has no encoder: its weights are {_groups(weights)}; expected encoder.* of a '
            'model of this toolbox'
        )
    notes = [*notes, *compare_facts(model, weights, facts, path, exact)]
    adapted = [] if exact else _adapt(model, weights, facts, path)
    if not exact:
        pools = {facts.get('pool'), facts_of(model).get('pool')} - {None}
        adapted += _fit_head(weights, own, facts.get('classes'), classes, len(pools) < 2)
        adapted += _fit_decoder(weights, own)
    reshaped = [
        f'{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here'
        for name in own
        if name in weights and own[name].shape != weights[name].shape
    ]
    if reshaped:
        what = f'; the file is a {facts["architecture"]}' if 'architecture' in facts else ''
        raise CheckpointError(f'{path} is of another shape: {_first(reshaped)}{what}')
    report = LoadReport(
        matched=[name for name in own if name in weights],
        missing=[name for name in own if name not in weights],
        unexpected=[name for name in weights if name not in own],
        adapted=adapted,
        notes=notes,
    )
    _check(report, path, exact)
    model.load_state_dict(weights, strict=False)
    return report


def _adapt(
    model: nn.Module, weights: dict[str, Tensor], facts: Mapping[str, Any], path: Path
) -> list[str]:
    adapt = getattr(model, 'adapt_weights', None)
    if adapt is None:
        return []
    grid = facts.get('grid_size')
    try:
        lines: list[str] = adapt(weights, tuple(grid) if grid else None)
    except ValueError as error:
        raise CheckpointError(f'{path} does not fit the model: {error}') from None
    return lines


def _fit_head(
    weights: dict[str, Tensor],
    own: Mapping[str, Tensor],
    there: Sequence[str] | None,
    here: Sequence[str] | None,
    same_pool: bool,
) -> list[str]:
    """Take the head by class names, or leave it out unless the whole of it fits."""
    theirs = [name for name in weights if name.startswith('head.')]
    ours = [name for name in own if name.startswith('head.')]
    if not theirs or not ours:
        return []
    lines = remap_head(weights, own, there, here)
    fits = set(theirs) == set(ours) and all(weights[n].shape == own[n].shape for n in ours)
    if not (fits and same_pool):
        for name in theirs:
            del weights[name]
        return ['the head of the file is another and stays out']
    return lines


def _fit_decoder(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Leave out a decoder that predicts another target: its last layer is of another width."""
    last = 'decoder.pred.weight'
    if last not in weights or last not in own or len(weights[last]) == len(own[last]):
        return []
    there, here = len(weights[last]), len(own[last])
    for name in [name for name in weights if name.startswith('decoder.')]:
        del weights[name]
    return [f'the decoder of the file predicts {there} values a patch, not {here}, and stays out']


def _check(report: LoadReport, path: Path, exact: bool) -> None:
    """Allow nothing missing or left over but what a task expects to be, and that as a whole."""
    may_miss: tuple[str, ...] = () if exact else MAY_MISS
    may_remain: tuple[str, ...] = () if exact else MAY_REMAIN
    if any(name.startswith('decoder.') for name in report.matched):
        may_miss = tuple(name for name in may_miss if name != 'decoder.')
    wrong = [f'{name} is missing' for name in report.missing if not name.startswith(may_miss)]
    wrong += [f'{name} is unknown' for name in report.unexpected if not name.startswith(may_remain)]
    if wrong or not report.matched:
        raise CheckpointError(f'{path} does not fit the model: {_first(wrong) or "no key matches"}')


def _has_encoder(weights: Iterable[str]) -> bool:
    return any(name.startswith('encoder.') for name in weights)


def _first(lines: list[str], count: int = 3) -> str:
    more = f' and {len(lines) - count} more' if len(lines) > count else ''
    return '; '.join(lines[:count]) + more


def _groups(names: Iterable[str]) -> str:
    """The parts that the names are of; the last norm of an encoder is not an encoder."""
    parts = {
        'encoder.norm' if name.startswith('encoder.norm.') else name.split('.')[0] for name in names
    }
    return ', '.join(sorted(parts)[:6])
