"""Parameters and operations of a config's model, part by part, for people."""

from typing import Any

import torch
from mmengine.config import Config

from mae.registry import MODELS
from mae.utils.errors import ConfigError
from mae.zoo.cost import encoder_flops, measure_cost

_PARTS = ('encoder', 'decoder', 'head')
_COUNTED = ('MAE', 'Classifier')


def cost_rows(config: Config) -> list[tuple[str, str]]:
    """Names and figures: parameters by part, and operations forward and in training.

    Operations are those of `mae.zoo.cost`; the encoder of a whole image is counted as published,
    without masking.

    Args:
        config: from `load_config`, of an `MAE` or `Classifier`.

    Raises:
        ConfigError: the config has another model, or none.
    """
    kind = (config.get('model') or {}).get('type')
    if kind not in _COUNTED:
        raise ConfigError(f'operations are counted of an MAE or a Classifier, not of {kind}')
    with torch.device('meta'):
        model: Any = MODELS.build(config.model)
    cost = measure_cost(model)
    rows = [('parameters', _scaled(cost.parameters, ''))]
    for name in _PARTS:
        if (part := getattr(model, name, None)) is not None:
            number = sum(parameter.numel() for parameter in part.parameters())
            rows.append((f'  {name}', _scaled(number, '')))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rows.append(('  trained', _scaled(trained, '')))
    height, width = model.encoder.img_size
    rows.append(('image', f'{height} x {width}'))
    if kind == 'MAE':
        L = model.encoder.grid_size[0] * model.encoder.grid_size[1]
        rows.append(('visible patches', f'{model.masker.num_keep(L)} of {L}'))
    rows += [
        ('forward', _scaled(cost.flops, 'FLOP')),
        ('forward and backward', _scaled(cost.training_flops, 'FLOP')),
        ('encoder of the whole image', _scaled(encoder_flops(model.encoder), 'FLOP')),
    ]
    return rows


def _scaled(number: float, unit: str) -> str:
    for factor, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if number >= factor:
            return f'{number / factor:.2f} {letter}{unit}'
    return f'{number:.0f} {unit}'.strip()
