"""Suggests the shipped config that a file of weights belongs to, by its shapes."""

from collections.abc import Mapping

from torch import Tensor

from mae.config import shipped_configs
from mae.config.grammar import parse_name
from mae.utils.vit_sizes import arch_name, count_blocks

_PLAIN_DATA = ('in1k', 'digits')
_PATCHES = 'encoder.patch_embed.proj.weight'


def matching_config(weights: Mapping[str, Tensor]) -> str | None:
    """Name of the plainest shipped config whose model has these widths, blocks and patches.

    Args:
        weights: tensors by name, in the names of this toolbox.
    """
    patches = weights.get(_PATCHES)
    if patches is None or patches.ndim != 4:
        return None
    arch = arch_name(patches.shape[0], count_blocks(weights))
    job = None if any(name.startswith('decoder.') for name in weights) else 'ft'
    found = []
    for path in shipped_configs():
        promise = parse_name(path.stem)
        if promise is None or promise.arch != arch or promise.patch != patches.shape[-1]:
            continue
        if promise.job == job and not promise.ablation and not promise.variant:
            is_other_data = promise.data not in _PLAIN_DATA
            rank = is_other_data, promise.percent != 100, promise.paper, promise.size
            found.append((*rank, path.stem))
    return min(found)[-1] if found else None
