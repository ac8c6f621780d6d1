"""Whether a file and a model mean the same by equal shapes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mae.utils.errors import CheckpointError

# Facts in which file and model must agree for the weights to mean the same, and the key that
# brings the model to agree.
_DECISIVE = {'num_heads': 'encoder.arch.num_heads', 'decoder_num_heads': 'decoder.num_heads'}
_ADVISORY = {
    'norm_eps': 'encoder.norm_eps',
    'norm_pix': 'target.norm_pix',
    'target': 'target.type',
}


def compare_facts(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    path: Path,
    exact: bool,
) -> list[str]:
    """Refuse what would compute something else in spite of equal shapes; say what may differ."""
    here = facts_of(model)
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


def facts_of(model: nn.Module) -> Mapping[str, Any]:
    """What a model says of itself with `get_facts()`; nothing if it cannot."""
    facts: Mapping[str, Any] = getattr(model, 'get_facts', dict)()
    return facts


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
