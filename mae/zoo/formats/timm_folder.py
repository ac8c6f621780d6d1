"""What timm reads beside the weights in a folder: `config.json`."""

import math
from typing import Any

from mae.utils.errors import CheckpointError
from mae.utils.text import counted
from mae.utils.vit_sizes import arch_name
from mae.zoo.formats.architecture import Architecture, Stack
from mae.zoo.formats.hub import unit_levels
from mae.zoo.formats.metadata import Facts

# Where timm has a model of these sizes, its name; any other is a base with other arguments.
_NAMES: dict[tuple[str | None, int], str] = {
    ('tiny', 16): 'vit_tiny_patch16_224',
    ('small', 16): 'vit_small_patch16_224',
    ('base', 16): 'vit_base_patch16_224',
    ('large', 16): 'vit_large_patch16_224',
    ('huge', 14): 'vit_huge_patch14_224',
}
_OTHER = 'vit_base_patch16_224'


def timm_config(
    found: Architecture, facts: Facts, short_side: int
) -> tuple[dict[str, Any], list[str]]:
    """Config by which `timm.create_model('local-dir:FOLDER')` builds a model.

    Without a head its output is the average of the patch tokens, after the last norm if there is
    one: what `FeatureExtractor` gives.

    Args:
        found: architecture of the weights, without a decoder.
        facts: with `num_heads` and `grid_size`; where `mean` and `std` are absent, usual values
            are assumed and noted.
        short_side: what the shorter side of an image is resized to, in pixels, before the centre
            is cut out.

    Returns:
        What goes into `config.json`, and lines for the report.

    Raises:
        CheckpointError: there are not as many means and deviations as channels, or timm's ViT
            cannot compute what the model does.
    """
    h, w = facts['grid_size']
    C, p = found.in_channels, found.patch_size
    mean, std, notes = unit_levels(facts, C)
    if found.final_norm and found.head == 'avg':
        raise CheckpointError('timm has no model with a norm both before and after the average')
    pool = 'token' if found.head == 'cls' and facts.get('pool') != 'avg' else 'avg'
    classes = facts.get('classes')
    config: dict[str, Any] = {
        'architecture': _NAMES.get((arch_name(found.encoder.dim, found.encoder.depth), p), _OTHER),
        'num_classes': found.num_classes,
        'num_features': found.encoder.dim,
        'global_pool': pool,
        'model_args': {
            'img_size': [h * p, w * p],
            'patch_size': p,
            'in_chans': C,
            'embed_dim': found.encoder.dim,
            'depth': found.encoder.depth,
            'num_heads': facts['num_heads'],
            'mlp_ratio': _mlp_ratio(found.encoder),
            'class_token': bool(found.num_prefix_tokens),
            'global_pool': pool,
            'fc_norm': found.head == 'avg',
        },
        'pretrained_cfg': {
            'custom_load': False,
            'input_size': [C, h * p, w * p],
            'fixed_input_size': True,
            'interpolation': 'bicubic',
            'crop_pct': h * p / short_side if h == w else 1.0,
            'crop_mode': 'center',
            'mean': mean,
            'std': std,
            'num_classes': found.num_classes,
            'first_conv': 'patch_embed.proj',
            'classifier': 'head',
        },
    }
    if not found.final_norm and found.head != 'avg':
        config['model_args']['final_norm'] = False
    if found.head and classes:
        if len(classes) == found.num_classes:
            config['label_names'] = list(classes)
        else:
            named = counted(len(classes), 'class', 'classes')
            notes.append(f'left out the names of {named}: the head has {found.num_classes}')
    return config, notes


def _mlp_ratio(stack: Stack) -> float:
    """The ratio from which timm, which rounds down, gets the hidden width."""
    ratio = stack.mlp_ratio
    return ratio if int(stack.dim * ratio) == stack.hidden_dim else math.nextafter(ratio, math.inf)
