"""The plain ViT within a segmenter or detector, as other libraries have it.

Shapes: D width, F hidden width of an MLP.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from mae.utils.errors import CheckpointError
from mae.zoo.formats.metadata import Facts

# Parts of a dense model beside its encoder; those of a classifier or decoder have homes elsewhere.
_PARTS = ('neck', 'auxiliary', 'rpn', 'roi')
_HEAD = re.compile(r'head\.(?!(fc_norm|fc|fcs)\.)')
_REL_POS = re.compile(r'encoder\.blocks\.\d+\.rel_pos\.')
_SCALE = re.compile(r'encoder\.blocks\.\d+\.gamma_[12]$')
# The layer whose output a scale multiplies.
_SCALED = {'gamma_1': 'attn.proj', 'gamma_2': 'mlp.fc2'}


def is_dense(weights: Mapping[str, Tensor], facts: Facts) -> bool:
    """Whether weights in our names are of a segmenter or detector, or of an encoder of one."""
    return (
        'taps' in facts
        or 'window_size' in facts
        or any(
            name.startswith(tuple(f'{part}.' for part in _PARTS))
            or _HEAD.match(name)
            or _REL_POS.match(name)
            or _SCALE.match(name)
            for name in weights
        )
    )


def plain_encoder(
    weights: Mapping[str, Tensor], facts: Facts, path: object, *, as_plain_vit: bool = False
) -> tuple[dict[str, Tensor], Facts, list[str]]:
    """The encoder alone, without what plain ViTs lack.

    Layer scale becomes part of the weights of the layers before it, which changes nothing. Relative
    positions that are still zero are left out, which changes nothing either. Trained ones and
    windows change what the encoder computes: they are refused, or dropped if asked to.

    Args:
        weights: in our names.
        facts: metadata; `window_size` of an encoder with windows.
        path: where they came from, for messages.
        as_plain_vit: drop trained relative positions and windows.

    Returns:
        Weights and facts of the plain ViT, and a line for each change.

    Raises:
        CheckpointError: it has relative positions or windows, and `as_plain_vit` is False.
    """
    encoder = {name: value for name, value in weights.items() if name.startswith('encoder.')}
    dropped = sorted({name.split('.')[0] for name in weights if name not in encoder})
    lines = [f'left out the {", ".join(dropped)}: only the encoder is converted'] if dropped else []
    rel_pos = [name for name in encoder if _REL_POS.match(name)]
    trained = [name for name in rel_pos if encoder[name].any()]
    lacking = []
    if trained:
        lacking.append(f'relative positions ({len(trained)} tables, {trained[0]} first)')
    if window := facts.get('window_size'):
        lacking.append(f'windows of {window} patches')
    if lacking and not as_plain_vit:
        raise CheckpointError(
            f'{path} has {" and ".join(lacking)}, which plain ViTs lack: without them the encoder '
            f'computes other features until it is fine-tuned; as_plain_vit leaves them out'
        )
    lines += [f'LEFT OUT {each}: the features differ until fine-tuning' for each in lacking]
    if rel_pos and not trained:
        lines.append('left out relative positions, which are all zero and change nothing')
    encoder = {name: value for name, value in encoder.items() if name not in rel_pos}
    scales = [name for name in encoder if _SCALE.match(name)]
    if scales:
        encoder = _folded(encoder, scales)
        lines.append('layer scale is folded into the layers before it, which changes nothing')
    kept = ('num_heads', 'norm_eps', 'grid_size', 'mean', 'std')
    return encoder, {name: facts[name] for name in kept if name in facts}, lines


def _folded(weights: Mapping[str, Tensor], scales: list[str]) -> dict[str, Tensor]:
    """Each scale (D,) multiplied into a linear layer (D, D) or (D, F) and its bias."""
    folded = {name: value for name, value in weights.items() if name not in scales}
    for name in scales:
        block, _, kind = name.rpartition('.')
        layer, scale = f'{block}.{_SCALED[kind]}', weights[name]
        folded[f'{layer}.weight'] = folded[f'{layer}.weight'] * scale[:, None]
        folded[f'{layer}.bias'] = folded[f'{layer}.bias'] * scale
    return folded
