"""Metadata of a model that no weight's shape reveals, read from whatever came with the weights.

Facts are a plain dict, so that they can go into any file; a fact that nobody stated is absent:
`num_heads`, `decoder_num_heads`, `norm_eps`, `grid_size` [h, w], `mask_ratio`, `norm_pix`,
`target` (name of a class), `pool`, `classes`, `mean` and `std` of each channel in grey levels
(0..255), and of a segmenter or detector `taps` and `window_size`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mae.utils.grey_levels import GREY_LEVELS, in_grey_levels, levels_of_processor
from mae.utils.suggest import did_you_mean
from mae.utils.vit_sizes import ARCHS

Facts = dict[str, Any]

NAMES = (
    'num_heads',
    'decoder_num_heads',
    'norm_eps',
    'grid_size',
    'mask_ratio',
    'norm_pix',
    'target',
    'pool',
    'classes',
    'mean',
    'std',
    'taps',
    'window_size',
)

_COUNT = (lambda v: type(v) is int and v > 0), 'a positive number'
_PLACES = (list, tuple)
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'num_heads': _COUNT,
    'decoder_num_heads': _COUNT,
    'norm_eps': ((lambda v: isinstance(v, float) and v > 0), 'a small number such as 1e-6'),
    'grid_size': (
        (lambda v: isinstance(v, _PLACES) and len(v) == 2 and all(_COUNT[0](n) for n in v)),
        'rows,columns',
    ),
    'mask_ratio': ((lambda v: isinstance(v, int | float) and 0 <= v < 1), 'between 0 and 1'),
    'norm_pix': ((lambda v: isinstance(v, bool)), 'True or False'),
    'target': ((lambda v: isinstance(v, str)), 'the name of a class such as PixelTarget'),
    'pool': ((lambda v: v in ('avg', 'cls')), "'avg' or 'cls'"),
    'classes': (
        (lambda v: isinstance(v, _PLACES) and all(isinstance(n, str) for n in v)),
        'names with commas between',
    ),
    'mean': ((lambda v: _per_channel(v, -1e6)), 'a number for each channel'),
    'std': (
        (lambda v: _per_channel(v, 0)),
        'a positive number for each channel',
    ),
    'taps': (
        (lambda v: isinstance(v, _PLACES) and all(type(n) is int and n >= 0 for n in v)),
        'numbers of blocks',
    ),
    'window_size': _COUNT,
}

# Key of our entry in a file's metadata, and what it may have.
KEY = 'mae'
_EMBEDDED = ('facts', 'manifest', 'training')


def _per_channel(value: Any, above: float) -> bool:
    return isinstance(value, _PLACES) and all(
        isinstance(number, int | float) and above < number < 1e6 for number in value
    )


def check_facts(facts: Mapping[str, Any]) -> None:
    """Refuse facts that no model can have.

    Raises:
        ValueError: an unknown name (suggests the nearest), or a value of another type.
    """
    if not isinstance(facts, Mapping):
        raise ValueError(f'facts are given by name, such as num_heads=3, not as {facts!r}')
    for name, value in facts.items():
        if name not in NAMES:
            raise ValueError(f'no fact {name!r}{did_you_mean(name, NAMES)}')
        fits, kind = _KINDS[name]
        if value is not None and not fits(value):
            raise ValueError(f'the fact {name} is {kind}, not {value!r}')


def facts_to_store(facts: Mapping[str, Any]) -> Facts:
    """The facts that a file stores: those in `NAMES`."""
    return {name: facts[name] for name in NAMES if facts.get(name) is not None}


def facts_of(checkpoint: Mapping[str, Any]) -> Facts:
    """Facts that came with a checkpoint: in its meta, its metadata or the `config.json` beside it.

    Args:
        checkpoint: as `mae.fault_tolerance.checkpoint.load_checkpoint` returns it.
    """
    meta = _mapping(checkpoint.get('meta'))
    facts: Facts = {}
    if 'config' in checkpoint:
        facts |= facts_of_folder(checkpoint['config'], _mapping(checkpoint.get('processor')))
    model = _mapping(_mapping(meta.get('cfg')).get('model'))
    if model:
        facts |= facts_of_config(model)
    named = meta.get('classes') or _mapping(meta.get('dataset_meta')).get('classes')
    if classes := named or meta.get('CLASSES'):
        facts['classes'] = [str(name) for name in classes]
    facts |= embedded_metadata(checkpoint)['facts']
    return {name: value for name, value in facts.items() if value is not None}


def embedded_metadata(checkpoint: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What this toolbox wrote into a file of any format, by name; each may be empty.

    There are `facts`, the `manifest`, and `training` as `Training.stored` gives it.

    Garbage counts as absent: the report then says that the values are not verified.
    """
    metadata = _mapping(checkpoint.get('metadata'))
    embedded = _mapping(checkpoint.get('meta')).get(KEY) or checkpoint.get(KEY)
    if KEY in metadata:
        try:
            embedded = json.loads(metadata[KEY])
        except (ValueError, RecursionError):
            embedded = None
    return {name: _mapping(_mapping(embedded).get(name)) for name in _EMBEDDED}


def facts_of_config(model: Mapping[str, Any]) -> Facts:
    """Facts in the `model` of one of our configs."""
    encoder, decoder = _mapping(model.get('encoder')), _mapping(model.get('decoder'))
    arch, patch = encoder.get('arch', 'base'), encoder.get('patch_size', 16)
    sizes = ARCHS.get(arch, {}) if isinstance(arch, str) else _mapping(arch)
    # The grid is that of the positions, which may be of other images than the model sees.
    size = encoder.get('pos_img_size') or encoder.get('img_size', 224)
    height, width = (size, size) if isinstance(size, int) else size
    preprocessor = _mapping(model.get('preprocessor'))
    facts: Facts = {
        **{name: list(preprocessor[name]) for name in ('mean', 'std') if name in preprocessor},
        'num_heads': sizes.get('num_heads'),
        'norm_eps': encoder.get('norm_eps', 1e-6),
        'grid_size': [height // patch, width // patch],
        'pool': _mapping(model.get('head')).get('pool', 'avg') if _classifies(model) else None,
        'taps': list(model['taps']) if 'taps' in model else None,
        'window_size': encoder.get('window_size') or None,
    }
    if decoder:
        facts |= {
            'decoder_num_heads': decoder.get('num_heads', 16),
            'mask_ratio': _mapping(model.get('masker')).get('mask_ratio'),
            'norm_pix': _mapping(model.get('target')).get('norm_pix', True),
            'target': str(_mapping(model.get('target')).get('type', 'PixelTarget')).split('.')[-1],
        }
    return {name: value for name, value in facts.items() if value is not None}


def _classifies(model: Mapping[str, Any]) -> bool:
    """Whether a head gives an image one class; that of a segmenter has the key `head` too."""
    return bool(model.get('head')) and 'taps' not in model


def facts_of_folder(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Facts:
    """Facts in a folder of the hub.

    Args:
        config: `config.json`, of transformers or of timm.
        processor: `preprocessor_config.json`; empty if there is none.
    """
    if 'pretrained_cfg' in config:  # timm's, whose model may be any
        usual = _mapping(config['pretrained_cfg'])
        return _rounded(in_grey_levels(usual.get('mean'), usual.get('std'), GREY_LEVELS))
    facts = facts_of_transformers(config)
    return {**facts, **_rounded(levels_of_processor(processor))} if processor else facts


def _rounded(levels: Mapping[str, Sequence[float]]) -> Facts:
    """Grey levels without the rounding error of the division by 255."""
    return {name: [round(value, 6) for value in values] for name, values in levels.items()}


def facts_of_transformers(config: Mapping[str, Any]) -> Facts:
    """Facts in a `config.json` of transformers' ViT or ViTMAE, its defaults included."""
    size, patch = config.get('image_size', 224), config.get('patch_size', 16)
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    facts: Facts = {
        'num_heads': config.get('num_attention_heads', 12),
        'norm_eps': config.get('layer_norm_eps', 1e-12),
        'grid_size': [height // rows, width // columns],
    }
    if config.get('model_type') == 'vit_mae':
        facts |= {
            'decoder_num_heads': config.get('decoder_num_attention_heads', 16),
            'mask_ratio': config.get('mask_ratio', 0.75),
            'norm_pix': config.get('norm_pix_loss', False),
        }
    else:
        facts['pool'] = 'cls'
    labels = _mapping(config.get('id2label'))
    names = [str(labels[key]) for key in sorted(labels, key=int)]
    if names and names != [f'LABEL_{number}' for number in range(len(names))]:
        facts['classes'] = names
    return facts


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
