"""Exports weights to the names of other libraries, in the form that their code loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mae.utils.errors import CheckpointError
from mae.zoo.formats.architecture import Architecture, architecture_of
from mae.zoo.formats.hub import transformers_config
from mae.zoo.formats.manifest import manifest_of
from mae.zoo.formats.metadata import KEY, Facts, facts_to_store
from mae.zoo.formats.name_map import Layout

PIXELS = ('PixelTarget', 'LowFrequencyTarget')  # targets whose predictions are pixels
PROBE_EPS = 1e-6  # of the BatchNorm before a linear probe
NORM_EPS = 1e-6  # of LayerNorm in all libraries whose files do not state it


@dataclass(frozen=True)
class ExportedWeights:
    """Weights ready to be written.

    Attributes:
        weights: a state dict in the names of `layout`.
        layout: target names.
        metadata: facts, manifest and training, which the file stores under `KEY`.
        architecture: of the weights.
        notes: for the report, a line each.
        config: content of `config.json` in a folder of transformers; None for other formats.
    """

    weights: dict[str, Tensor]
    layout: Layout
    metadata: dict[str, Any]
    architecture: Architecture
    notes: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None

    def checkpoint(self) -> dict[str, Any]:
        """The content of a `.pth` as that library writes it."""
        if self.layout.name == 'fair':
            return {'model': self.weights, KEY: self.metadata}
        if self.layout.name == 'timm':  # `load_state_dict` takes nothing but weights
            return dict(self.weights)
        return {'state_dict': self.weights, 'meta': {KEY: self.metadata}}


def export_weights(
    weights: Mapping[str, Tensor], layout: Layout, facts: Facts, path: object
) -> ExportedWeights:
    """Export whole weights of ours to the names of `layout`.

    Args:
        weights: a state dict in this toolbox's names.
        layout: target names.
        facts: metadata that shapes do not reveal; where one is absent the usual value is assumed
            and noted.
        path: where they came from, for messages.

    Raises:
        CheckpointError: they are no whole ViT or MAE, or that library has no class for them.
    """
    notes: list[str] = []
    weights = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    found = architecture_of(weights, path)
    if found.head == 'probe' and 'probe' not in layout.heads:
        fold_batch_norm(weights)
        notes.append('the BatchNorm before the head is folded into it')
        found = replace(found, head='cls')
    homeless = [name for name in weights if not layout.holds(name, found.head)]
    if homeless and all(name.startswith('decoder.') for name in homeless):
        weights = {name: value for name, value in weights.items() if name not in homeless}
        notes.append(f'left out the decoder, for which {layout.title} has no place')
        found = replace(found, decoder=None)
    elif homeless and layout.name != 'transformers':  # whose message below is more detailed
        raise CheckpointError(f'{layout.title} has no place for {homeless[0]} of {path}')
    target = facts.get('target', PIXELS[0])
    if found.decoder and layout.name != 'mae' and not (target in PIXELS and found.predicts_pixels):
        raise CheckpointError(
            f'{layout.title} has decoders of pixels only, and that of {path} predicts '
            f'{found.target_dim} values of a {target}; write its encoder alone (encoder_only)'
        )
    eps = facts.get('norm_eps', NORM_EPS)
    if layout.name not in ('mae', 'transformers') and eps != NORM_EPS:
        notes.append(f'made with norm_eps {eps}, which {layout.title} must be given')
    config = None
    if layout.name == 'transformers':
        facts, assumed = complete_facts(found, facts)
        config, notes = transformers_config(found, facts), notes + assumed
        config['dtype'] = str(weights['encoder.pos_embed'].dtype).removeprefix('torch.')
    if layout.name == 'mmpretrain' and found.decoder and not found.num_prefix_tokens:
        raise CheckpointError(f'MAE of {layout.title} always has a cls token, {path} has none')
    return ExportedWeights(
        weights=layout.rename_back(weights, found.head),
        layout=layout,
        metadata={'facts': facts_to_store(facts), 'manifest': manifest_of(weights)},
        architecture=found,
        notes=[f'{found} in the names of {layout.name}', *notes],
        config=config,
    )


def complete_facts(found: Architecture, facts: Facts) -> tuple[Facts, list[str]]:
    """The facts that a config needs, the usual for those absent, and a line for each such.

    Raises:
        CheckpointError: there is no usual number of heads for these widths, the patches of an
            unknown grid are not a square number, or a fact contradicts the shapes.
    """
    side = round(found.num_patches**0.5)
    square = [side, side] if side * side == found.num_patches else None
    usual = {'num_heads': found.usual_heads, 'norm_eps': 1e-6, 'grid_size': square}
    if found.decoder:
        usual |= {'decoder_num_heads': found.usual_decoder_heads, 'norm_pix': True}
    complete, notes = dict(facts), []
    for name, value in usual.items():
        if name in facts:
            continue
        if value is None:
            raise CheckpointError(
                f'nothing says which {name} this model has ({found}): give its config, '
                f'or {name} among its facts'
            )
        complete[name] = value
        notes.append(f'{name} {value} assumed, as usual')
    h, w = complete['grid_size']
    if h * w != found.num_patches:
        raise CheckpointError(f'there are {found.num_patches} patches, and grid_size is {h}x{w}')
    for stack, heads in ((found.encoder, 'num_heads'), (found.decoder, 'decoder_num_heads')):
        if stack and stack.dim % complete[heads]:
            raise CheckpointError(
                f'blocks are {stack.dim} wide, which {complete[heads]} heads do not divide'
            )
    return complete, notes


def fold_batch_norm(weights: dict[str, Tensor]) -> None:
    """Make one linear layer of a BatchNorm without affine and the linear layer after it."""
    mean = weights.pop('head.fc_norm.running_mean').double()
    var = weights.pop('head.fc_norm.running_var').double()
    weights.pop('head.fc_norm.num_batches_tracked', None)
    weight, bias = weights['head.fc.weight'], weights['head.fc.bias']
    scaled = weight.double() / (var + PROBE_EPS).sqrt()
    weights['head.fc.weight'] = scaled.to(weight.dtype)
    weights['head.fc.bias'] = (bias.double() - torch.mv(scaled, mean)).to(bias.dtype)
