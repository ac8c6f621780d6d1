"""Building parts with the facts that their constructors name; checks of masks and targets.

Shapes: B images, M predicted patches, T values predicted of a patch.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mae.models.masking.mask import Mask
from mae.registry import MODELS
from mae.utils.errors import ConfigError

Part = Mapping[str, Any]


def build_part(part: Part, facts: Mapping[str, Any] | None = None, *, key: str = '') -> Any:
    """Build a part and pass it, as keywords, the facts that its constructor names.

    Args:
        part: config with `type`.
        facts: values by keyword; a value that the config states takes precedence.
        key: name of the part in the model's config, with which errors begin.

    Raises:
        ValueError: the part's constructor refuses the values of its config.
    """
    kind = part.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    named = _keywords(kind) if callable(kind) else set()
    keywords = {k: v for k, v in (facts or {}).items() if k in named}
    try:
        return MODELS.build(part, default_args=keywords)
    except ValueError as error:
        is_plain = type(error) is ValueError or isinstance(error, ConfigError)
        if not (key and is_plain) or str(error).startswith(f'{key}.'):
            raise
        raise type(error)(f'{key}: {error}') from error


def target_dim_of(target: nn.Module) -> int:
    """T, which a target must state.

    Raises:
        ValueError: it does not, or its `forward` does not take (images, patches, mask).
    """
    name = type(target).__name__
    signature = inspect.signature(target.forward)
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise ValueError(
            f'{name}.forward takes {signature}, but a target is called with (images, patches, mask)'
        ) from None
    width = getattr(target, 'target_dim', None)
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ValueError(
            f'{name}.target_dim must be the number of values to predict of a patch, not {width!r}'
        )
    return width


def check_taps(taps: Sequence[int], depth: int) -> tuple[int, ...]:
    """Refuse what does not name blocks whose maps an encoder gives, in rising order.

    Raises:
        ValueError: says the range.
    """
    valid = all(isinstance(tap, int) and 0 <= tap < depth for tap in taps)
    if not taps or not valid or list(taps) != sorted(set(taps)):
        raise ValueError(
            f'model.taps must be rising numbers of blocks in 0..{depth - 1}, not {list(taps)}'
        )
    return tuple(taps)


def check_masker(masker: nn.Module) -> None:
    """Refuse a masker without `num_keep`, the number of visible patches.

    Raises:
        ValueError: it has no `num_keep`.
    """
    if not callable(getattr(masker, 'num_keep', None)):
        raise ValueError(
            f'{type(masker).__name__} is no masker: it needs num_keep(num_patches), such as '
            'mae.models.masking.base.Masker has'
        )


def check_mask(mask: Mask, masker: nn.Module) -> None:
    """Refuse what is no mask.

    Raises:
        ValueError: names the type that it is.
    """
    if not isinstance(mask, Mask):
        raise ValueError(f'{type(masker).__name__} must give a Mask, not a {type(mask).__name__}')


def check_target(target: Tensor, pred: Tensor, part: nn.Module, decoder: nn.Module) -> None:
    """Refuse a target or prediction whose shape a loss would broadcast or fail at.

    Args:
        target: (B, M, T), or the numbers of classes, int64 (B, M), among T.
        pred: (B, M, T).
        part: module that made the target, for messages.
        decoder: module that made the prediction, for messages.

    Raises:
        ValueError: target or prediction is of another shape.
    """
    if not isinstance(target, Tensor):
        raise ValueError(f'{type(part).__name__} must give a tensor, not a {type(target).__name__}')
    if target.shape == pred.shape:
        return
    if target.shape == pred.shape[:-1] and not target.is_floating_point():
        return
    name, width = type(part).__name__, part.target_dim
    if pred.shape[-1] != width:
        raise ValueError(
            f'{type(decoder).__name__} predicts {pred.shape[-1]} values of a patch, but '
            f'{name}.target_dim is {width}: a decoder predicts target_dim values'
        )
    raise ValueError(
        f'{name} gives a target of shape {tuple(target.shape)}, but with its target_dim {width} '
        f'the prediction is {tuple(pred.shape)}: (images, predicted patches, target_dim)'
    )


def _keywords(kind: Callable[..., Any]) -> set[str]:
    """Parameters of a function or class, and of its bases as long as they take `**kwargs`."""
    names: set[str] = set()
    for function in _constructors(kind):
        parameters = inspect.signature(function).parameters.values()
        names |= {parameter.name for parameter in parameters}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names


def _constructors(kind: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    if not inspect.isclass(kind):
        yield kind
        return
    yield from (vars(base)['__init__'] for base in kind.__mro__ if '__init__' in vars(base))
