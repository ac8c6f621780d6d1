"""What transformers reads beside the weights: `config.json` and `preprocessor_config.json`."""

from collections.abc import Mapping
from typing import Any

from mae.utils.errors import CheckpointError
from mae.utils.grey_levels import GREY_LEVELS
from mae.utils.text import counted
from mae.zoo.formats.architecture import Architecture
from mae.zoo.formats.metadata import Facts

_BICUBIC = 3  # Pillow's number
_USUAL_COLOURS = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375]}  # of ImageNet
_USUAL_GREYS = {'mean': [127.5], 'std': [127.5]}


def transformers_config(found: Architecture, facts: Facts) -> dict[str, Any]:
    """Config of the class that computes what our model does.

    Args:
        found: architecture of the weights.
        facts: with `num_heads`, `grid_size` and `norm_eps`, and `decoder_num_heads` where there
            is a decoder.

    Returns:
        What goes into `config.json`: of `ViTForImageClassification` with a head, of
        `ViTMAEForPreTraining` with a decoder, else of `ViTModel`. The last sees all patches;
        `ViTMAEModel` hides some of them even for features.

    Raises:
        CheckpointError: no class of transformers computes what this model does.
    """
    reason = _why_not(found, facts)
    if reason:
        raise CheckpointError(f'transformers cannot hold this model: {reason}')
    h, w = facts['grid_size']
    p = found.patch_size
    config: dict[str, Any] = {
        'model_type': 'vit_mae' if found.decoder else 'vit',
        'hidden_size': found.encoder.dim,
        'num_hidden_layers': found.encoder.depth,
        'num_attention_heads': facts['num_heads'],
        'intermediate_size': found.encoder.hidden_dim,
        'hidden_act': 'gelu',
        'hidden_dropout_prob': 0.0,
        'attention_probs_dropout_prob': 0.0,
        'initializer_range': 0.02,
        'layer_norm_eps': facts['norm_eps'],
        'image_size': h * p if h == w else [h * p, w * p],
        'patch_size': p,
        'num_channels': found.in_channels,
        'qkv_bias': True,
    }
    if found.head:
        classes = facts.get('classes') or [f'LABEL_{n}' for n in range(found.num_classes)]
        return config | {
            'architectures': ['ViTForImageClassification'],
            'id2label': {str(number): name for number, name in enumerate(classes)},
            'label2id': {name: number for number, name in enumerate(classes)},
        }
    if found.decoder is None:
        return config | {'architectures': ['ViTModel']}
    return config | {
        'architectures': ['ViTMAEForPreTraining'],
        'mask_ratio': facts.get('mask_ratio') or 0.75,
        'norm_pix_loss': facts.get('norm_pix', True),
        'decoder_hidden_size': found.decoder.dim,
        'decoder_num_hidden_layers': found.decoder.depth,
        'decoder_num_attention_heads': facts['decoder_num_heads'],
        'decoder_intermediate_size': found.decoder.hidden_dim,
    }


def transformers_processor(
    config: Mapping[str, Any], facts: Facts, short_side: int
) -> tuple[dict[str, Any], list[str]]:
    """Config of the image processor that prepares an image as this toolbox does.

    Args:
        config: config of the model, from `transformers_config`.
        facts: with `mean` and `std`; where they are absent, usual values are assumed and noted.
        short_side: what the shorter side is resized to, in pixels, before the centre is cut out.

    Returns:
        What goes into `preprocessor_config.json`, and lines for the report.

    Raises:
        CheckpointError: there are not as many means and deviations as channels.
    """
    size = config['image_size']
    mean, std, notes = unit_levels(facts, config['num_channels'])
    processor: dict[str, Any] = {
        'do_convert_rgb': config['num_channels'] == 3,
        'do_resize': True,
        'resample': _BICUBIC,
        'do_rescale': True,
        'rescale_factor': 1 / 255,
        'do_normalize': True,
        'image_mean': mean,
        'image_std': std,
    }
    if not isinstance(size, int):
        height, width = size
        notes.append(
            f'its processor squeezes images to {height}x{width}; here the middle is cut out'
        )
        whole = {'height': height, 'width': width}
        return {'image_processor_type': 'ViTImageProcessor', **processor, 'size': whole}, notes
    return {
        'image_processor_type': 'CLIPImageProcessor',  # that of a ViT cuts out no centre
        **processor,
        'size': {'shortest_edge': short_side},
        'do_center_crop': True,
        'crop_size': {'height': size, 'width': size},
    }, notes


def unit_levels(facts: Facts, channels: int) -> tuple[list[float], list[float], list[str]]:
    """Mean and standard deviation of each channel where white is 1, as other libraries have them.

    Args:
        facts: with `mean` and `std`; where they are absent, usual values are assumed and noted.
        channels: number of them.

    Returns:
        Mean, standard deviation, and lines for the report.

    Raises:
        CheckpointError: there are not as many means and deviations as channels.
    """
    usual, notes = _USUAL_COLOURS if channels == 3 else _USUAL_GREYS, []
    levels: dict[str, list[float]] = {}
    for name in ('mean', 'std'):
        if name not in facts:
            notes.append(f'{name} {usual[name]} assumed, as usual')
        values = facts.get(name, usual[name])
        if len(values) not in (1, channels):
            raise CheckpointError(f'{name} has {len(values)} numbers for {channels} channels')
        each = values if len(values) == channels else [*values] * channels
        levels[name] = [value / GREY_LEVELS for value in each]
    return levels['mean'], levels['std'], notes


def why_no_pipeline(channels: int, bits: int) -> str | None:
    """Why pipelines of transformers cannot prepare images for a model; None if they can.

    Args:
        channels: of the images that the model takes.
        bits: of a pixel of the images that it was trained on.
    """
    if channels == 3 and bits == 8:
        return None
    kind = counted(channels, 'channel')
    deep = f' of {bits} bits' if bits != 8 else ''
    return (
        f'pipelines of transformers open images as RGB of 8 bits, and this model takes {kind}{deep}'
    )


def _why_not(found: Architecture, facts: Facts) -> str | None:
    if not found.num_prefix_tokens:
        return 'its ViT always has a cls token'
    if found.head and (found.head != 'cls' or facts.get('pool') == 'avg' or not found.final_norm):
        return (
            'its ViTForImageClassification reads the normalised cls token, and this head averages '
            'the patches; write it for timm, or its encoder alone (encoder_only)'
        )
    if not found.final_norm:
        return 'its ViT always has a final norm'
    classes = facts.get('classes')
    if found.head and classes and len(classes) != found.num_classes:
        named = counted(len(classes), 'class', 'classes')
        return f'it names {named}, and the head has {found.num_classes}'
    if found.head and classes and len({*classes}) < len(classes):
        double = next(name for name in classes if classes.count(name) > 1)
        return f'several of its classes have the name {double!r}'
    return None
