"""Loading weights into a model, with a report of what matched; what does not fit is refused.

In this order: names and shapes; other facts in which file and model must agree, such as the number
of heads; the rows of a classifier, matched by the names of its classes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mae.utils.errors import CheckpointError
from mae.utils.sharded import full, like

Suggest = Callable[[Mapping[str, Tensor]], str | None]

# A pre-trained model is loaded for its encoder: the head is new, the decoder is dropped, and so is
# the encoder's last norm if the head has its own. So it is with what dense tasks put behind it.
MAY_MISS = ('decoder.', 'head.', 'neck.', 'auxiliary.', 'rpn.', 'roi.')
MAY_REMAIN = (*MAY_MISS, 'encoder.norm.')
# What an encoder may have besides, which changes nothing at the start.
_NEUTRAL = re.compile(r'encoder\.blocks\.\d+\.(rel_pos\.\w+|gamma_[12])')

# Facts in which file and model must agree, since the shapes do not show them, and the config key
# of each.
_DECISIVE = {'num_heads': 'encoder.arch.num_heads', 'decoder_num_heads': 'decoder.num_heads'}
_ADVISORY = {
    'norm_eps': 'encoder.norm_eps',
    'norm_pix': 'target.norm_pix',
    'target': 'target.type',
}

_ROWS = ('head.fc.', 'head.fcs.')


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
        model: if it has `adapt_weights(weights, grid_size)`, this resizes weights of another
            image size; its `get_facts()` is compared with `facts`. If its `head` has `kept_parts`,
            those are loaded of a head of other classes, of which nothing else is.
        path: for messages.
        exact: refuse missing and additional weights, as for testing and resuming; else decoder
            and head may differ, as for fine-tuning a pre-trained model.
        facts: number of heads, grid size, ... of the model in the file, from `load_weights`.
        notes: lines for the report, from `load_weights`.
        classes: class names of the model: with `facts['classes']` the rows of the head are
            matched by name. Not with `exact`.
        suggest: returns the name of a config whose model fits the weights, for errors.

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
        pools = {facts.get('pool'), facts_of_model(model).get('pool')} - {None}
        kept = getattr(getattr(model, 'head', None), 'kept_parts', ())
        adapted += _fit_head(weights, own, facts.get('classes'), classes, len(pools) < 2, kept)
        adapted += _fit_decoder(weights, own)
    reshaped = [
        f'{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here'
        for name in own
        if name in weights and own[name].shape != weights[name].shape
    ]
    if reshaped:
        what = f'; the file is a {facts["architecture"]}' if 'architecture' in facts else ''
        if not exact and all(line.startswith(MAY_MISS) for line in reshaped):
            what += '; `mae zoo convert --encoder-only` makes a file of its encoder, which does fit'
        raise CheckpointError(f'{path} is of another shape: {_first(reshaped)}{what}')
    report = LoadReport(
        matched=[name for name in own if name in weights],
        missing=[name for name in own if name not in weights],
        unexpected=[name for name in weights if name not in own],
        adapted=adapted,
        notes=notes,
    )
    _check(report, path, exact)
    fitting = {n: like(value, own[n]) if n in own else value for n, value in weights.items()}
    model.load_state_dict(fitting, strict=False)
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
    kept_parts: Iterable[str],
) -> list[str]:
    """Match the head by class names; drop it, but for the parts to keep, unless all of it fits."""
    theirs = [name for name in weights if name.startswith('head.')]
    ours = [name for name in own if name.startswith('head.')]
    if not theirs or not ours:
        return []
    lines = remap_head(weights, own, there, here)
    fits = set(theirs) == set(ours) and all(weights[n].shape == own[n].shape for n in ours)
    if not (fits and same_pool):
        prefixes = tuple(f'head.{part}.' for part in kept_parts)
        kept = {
            name
            for name in theirs
            if name.startswith(prefixes) and name in own and own[name].shape == weights[name].shape
        }
        for name in set(theirs) - kept:
            del weights[name]
        rest = f', but for {_first(sorted(kept))}' if kept else ''
        return [f'the head of the file is another and stays out{rest}']
    return lines


def _fit_decoder(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Drop a decoder that predicts another target: its last layer has another width."""
    last = 'decoder.pred.weight'
    if last not in weights or last not in own or len(weights[last]) == len(own[last]):
        return []
    there, here = len(weights[last]), len(own[last])
    for name in [name for name in weights if name.startswith('decoder.')]:
        del weights[name]
    return [f'the decoder of the file predicts {there} values a patch, not {here}, and stays out']


def _check(report: LoadReport, path: Path, exact: bool) -> None:
    """Refuse missing and additional weights, except for decoder and head as a whole."""
    may_remain: tuple[str, ...] = () if exact else MAY_REMAIN
    may_miss = tuple(  # a head as far as its rows are new, any other part as a whole
        part
        for part in (() if exact else MAY_MISS)
        if part == 'head.' or not any(name.startswith(part) for name in report.matched)
    )
    neutral = not exact and not any(_NEUTRAL.fullmatch(name) for name in report.matched)
    wrong = [
        f'{name} is missing'
        for name in report.missing
        if not name.startswith(may_miss) and not (neutral and _NEUTRAL.fullmatch(name))
    ]
    wrong += [f'{name} is unknown' for name in report.unexpected if not name.startswith(may_remain)]
    if exact and _has_no_head(report):
        raise CheckpointError(
            f'{path} has no head: it was not fine-tuned; fine-tune it first, with `mae finetune` '
            'or `mae train`'
        )
    if wrong or not report.matched:
        raise CheckpointError(f'{path} does not fit the model: {_first(wrong) or "no key matches"}')


def _has_no_head(report: LoadReport) -> bool:
    """Whether the model classifies, and the file holds an encoder and nothing of a head."""
    lacks = any(name.startswith('head.') for name in report.missing)
    there = (*report.matched, *report.unexpected)
    return lacks and _has_encoder(there) and not any(n.startswith('head.') for n in there)


def _has_encoder(weights: Iterable[str]) -> bool:
    return any(name.startswith('encoder.') for name in weights)


def _first(lines: list[str], count: int = 3) -> str:
    more = f' and {len(lines) - count} more' if len(lines) > count else ''
    return '; '.join(lines[:count]) + more


def _groups(names: Iterable[str]) -> str:
    """The parts that the names belong to; the last norm of an encoder is one of its own."""
    parts = {
        'encoder.norm' if name.startswith('encoder.norm.') else name.split('.')[0] for name in names
    }
    return ', '.join(sorted(parts)[:6])


# --- facts that the shapes do not show --------------------------------------------------------


def compare_facts(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    path: Path,
    exact: bool,
) -> list[str]:
    """Refuse weights that would compute something else in spite of equal shapes.

    Returns:
        A line for each fact that differs and is allowed to.
    """
    here = facts_of_model(model)
    with_decoder = any(name.startswith('decoder.') for name in weights)
    wanted = dict(_DECISIVE)
    if exact:
        wanted |= {'grid_size': 'encoder.img_size', 'pool': 'head.pool'}
    for name, key in wanted.items():
        there, ours = facts.get(name), here.get(name)
        if name.startswith('decoder_') and not with_decoder:
            continue
        if there is not None and ours is not None and _plain(there) != _plain(ours):
            raise CheckpointError(
                f'{path} does not fit the model: {name} is {_plain(there)} there and '
                f'{_plain(ours)} here; set {key} as there'
            )
    notes = []
    for name, key in _ADVISORY.items():
        there, ours = facts.get(name), here.get(name)
        if key.startswith('target.') and not with_decoder:
            continue
        if there is not None and ours is not None and there != ours:
            notes.append(f'made with {name} {there}, here it is {ours}: set {key} to be exact')
    return notes


def facts_of_model(model: nn.Module) -> Mapping[str, Any]:
    """`get_facts()` of a model, or nothing if it has none."""
    facts: Mapping[str, Any] = getattr(model, 'get_facts', dict)()
    return facts


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value


# --- a classifier's rows, by the names of its classes -----------------------------------------


def remap_head(
    weights: dict[str, Tensor],
    own: Mapping[str, Tensor],
    there: Sequence[str] | None,
    here: Sequence[str] | None,
) -> list[str]:
    """Put the rows of a head, in place, into the order of other classes.

    Args:
        weights: weights of the file; each `head.fc` gets rows for `here`, those of new classes from
            `own`.
        own: weights of the model.
        there: class names of the file, in the order of its rows.
        here: class names of the model, in the order of its rows.

    Returns:
        A line if rows were moved; none if names are unknown, equal, or none is common.
    """
    if not there or not here or list(there) == list(here):
        return []
    rows = {name: row for row, name in enumerate(there)}
    pairs = [(new, rows[name]) for new, name in enumerate(here) if name in rows]
    if not pairs or len(rows) < len(there):
        return []
    moved = False
    for name, value in list(weights.items()):
        mine = own.get(name)
        if not name.startswith(_ROWS) or mine is None or value.ndim == 0:
            continue
        if len(value) != len(there) or len(mine) != len(here) or value.shape[1:] != mine.shape[1:]:
            continue
        new, old = zip(*pairs, strict=True)
        fitted = full(mine.detach()).clone()
        fitted[list(new)] = value[list(old)].to(fitted)
        weights[name] = fitted
        moved = True
    if not moved:
        return []
    fresh = len(here) - len(pairs)
    left = len(there) - len(pairs)
    return [
        f'head: {len(pairs)} classes taken by name, {fresh} of {len(here)} start fresh, {left} of '
        f'{len(there)} left out'
    ]
