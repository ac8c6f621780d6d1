"""Loading weights into a model, telling what matched and refusing what does not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from mae.utils.errors import CheckpointError

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

    def __str__(self) -> str:
        parts = [f'{len(self.matched)} weights loaded']
        if self.missing:
            parts.append(f'{len(self.missing)} start fresh ({_groups(self.missing)})')
        if self.unexpected:
            parts.append(f'{len(self.unexpected)} left out ({_groups(self.unexpected)})')
        return ', '.join([*parts, *self.adapted])


def fit_weights(
    model: nn.Module, weights: dict[str, Tensor], path: Path, *, exact: bool = False
) -> LoadReport:
    """Load `weights` into `model`, whole or not at all.

    Args:
        model: to be filled; `adapt_weights(weights)`, if it has it, fits those of another size.
        weights: by name.
        path: where they came from, for messages.
        exact: allow neither missing nor left-over weights, as when testing or resuming; else
            the decoder and the head may differ, as when fine-tuning a pre-trained model.

    Raises:
        CheckpointError: names or shapes do not fit; the first few are listed.
    """
    weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    own = model.state_dict()
    if _has_encoder(own) and not _has_encoder(weights):
        raise CheckpointError(
            f'{path} has no encoder: its weights are {_groups(weights)}; expected encoder.* of a '
            'model of this toolbox'
        )
    adapt = getattr(model, 'adapt_weights', None)
    try:
        adapted = adapt(weights) if adapt and not exact else []
    except ValueError as error:
        raise CheckpointError(f'{path} does not fit the model: {error}') from None
    own = model.state_dict()
    reshaped = [n for n in own if n in weights and own[n].shape != weights[n].shape]
    if not exact:  # a head for other classes starts fresh
        for name in [name for name in reshaped if name.startswith('head.')]:
            reshaped.remove(name)
            del weights[name]
    if reshaped:
        lines = [
            f'{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here'
            for name in reshaped
        ]
        raise CheckpointError(f'{path} is of another shape: {_first(lines)}')
    report = LoadReport(
        matched=[name for name in own if name in weights],
        missing=[name for name in own if name not in weights],
        unexpected=[name for name in weights if name not in own],
        adapted=adapted,
    )
    may_miss, may_remain = ((), ()) if exact else (MAY_MISS, MAY_REMAIN)
    wrong = [f'{name} is missing' for name in report.missing if not name.startswith(may_miss)]
    wrong += [f'{name} is unknown' for name in report.unexpected if not name.startswith(may_remain)]
    if wrong or not report.matched:
        raise CheckpointError(f'{path} does not fit the model: {_first(wrong) or "no key matches"}')
    model.load_state_dict(weights, strict=False)
    return report


def _has_encoder(weights: Iterable[str]) -> bool:
    return any(name.startswith('encoder.') for name in weights)


def _first(lines: list[str], count: int = 3) -> str:
    more = f' and {len(lines) - count} more' if len(lines) > count else ''
    return '; '.join(lines[:count]) + more


def _groups(names: Iterable[str]) -> str:
    return ', '.join(sorted({name.split('.')[0] for name in names})[:6])
