"""Which shipped configs evaluate a pre-trained encoder: one table, by architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mae.config import load_config, shipped_configs
from mae.registry import MODELS
from mae.utils.errors import CheckpointError, ConfigError
from mae.zoo.formats import load_weights

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """Patterns of config names, in which `{arch}` is filled in; each must fit one shipped config.

    Attributes:
        finetune: by share of the labels. Where a smaller share has no config, the config of all
            labels is used with that share.
        partial: with `{part}`, such as 'last2'. Where there is none, the config of all labels is
            used with that number of blocks.
        scratch: training from scratch, for comparison.
        blocks: numbers of blocks trained in partial fine-tuning; a row of all blocks follows.
        shots: numbers of labels a class in few-shot fine-tuning, which uses the config of the
            smallest share.
        takes_gpus: on a CPU the runs would take months.
        scratch_base_lrs: grids of `base_lr` for training from scratch: {1: for the epochs of the
            config, 3: for three times as many}. Of a grid the rate with the best mean over the
            seeds counts; without an entry for 1 the rate of the config is used.
    """

    knn: str
    linear: str
    finetune: Mapping[float, str]
    partial: str
    scratch: str
    blocks: tuple[float, ...]
    shots: tuple[int, ...]
    takes_gpus: bool
    scratch_base_lrs: Mapping[int, tuple[float, ...]] = field(default_factory=dict)


IMAGENET = Recipe(
    knn='{arch}_knn-*_in1k',
    linear='{arch}_linear-8xb*_in1k',
    finetune={
        0.01: '{arch}_ft-8xb*_in1k-1pct',
        0.1: '{arch}_ft-8xb*_in1k-10pct',
        1.0: '{arch}_ft-8xb*e_in1k',
    },
    partial='{arch}_ft-{part}-8xb*_in1k',
    scratch='{arch}_scratch-*_in1k',
    blocks=(0, 0.5, 1, 2, 4),
    shots=(5, 10),
    takes_gpus=True,
)
DIGITS = Recipe(
    knn='{arch}_knn-*_digits-16',
    linear='{arch}_linear-1xb*_digits-16',
    finetune={
        0.01: '{arch}_ft-1xb*_digits-16-1pct',
        0.1: '{arch}_ft-1xb*_digits-16-10pct',
        1.0: '{arch}_ft-1xb128-*_digits-16',
    },
    partial='{arch}_ft-{part}-1xb*_digits-16',
    scratch='{arch}_scratch-1xb128-*_digits-16',
    blocks=(0, 0.5, 1, 2),
    shots=(1, 5, 10),
    takes_gpus=False,
)
RECIPES: Mapping[str, Recipe] = {
    'vit-base-p16': IMAGENET,
    'vit-large-p16': IMAGENET,
    'vit-huge-p14': IMAGENET,
    'vit-mini-p4': DIGITS,
}


def find_arch(start: Config | Path) -> str:
    """The key of `RECIPES` whose k-NN config has the encoder of a config or checkpoint.

    Raises:
        ConfigError: none has; lists those that there are.
        CheckpointError: it cannot be read or holds no encoder.
    """
    if isinstance(start, Path):
        name, wanted = str(start), _signature(_encoder_weights(start))
    else:
        name, wanted = start.filename, _signature_of(start)
    known = {
        arch: _signature_of(load_config(shipped_name(arch, recipe.knn)))
        for arch, recipe in RECIPES.items()
    }
    for arch, signature in known.items():
        if signature == wanted:
            return arch
    listed = ', '.join(f'{arch} ({_words(signature)})' for arch, signature in known.items())
    raise ConfigError(
        f'{name}: no evaluation configs for an encoder of {_words(wanted)}; there are some for '
        f'{listed}. Others go to configs/ and to RECIPES in mae/protocol/recipes.py'
    )


def shipped_name(arch: str, *patterns: str) -> str:
    """The name of the one shipped config that fits the first pattern that any fits.

    Raises:
        ConfigError: none, or several fit it.
    """
    stems = [path.stem for path in shipped_configs()]
    wanted = [pattern.format(arch=arch) for pattern in patterns]
    found = next(filter(None, ([s for s in stems if fnmatch(s, w)] for w in wanted)), [])
    if len(found) != 1:
        raise ConfigError(
            f'the protocol of {arch} needs one config named {" or ".join(wanted)}, '
            f'and configs/ has {", ".join(found) or "none"}'
        )
    return found[0]


def _signature_of(config: Config) -> Signature:
    with torch.device('meta'):
        encoder: Any = MODELS.build(config.model.encoder)
    return _signature(encoder.state_dict())


def _encoder_weights(path: Path) -> dict[str, Tensor]:
    weights = load_weights(path)['state_dict']
    found = {
        name.removeprefix('encoder.'): value
        for name, value in weights.items()
        if name.startswith('encoder.')
    }
    if 'patch_embed.proj.weight' not in found:
        raise CheckpointError(
            f'{path} holds no encoder: none of its {len(weights)} weights is '
            f'encoder.patch_embed.proj.weight; the first is {next(iter(weights))}'
        )
    return found


def _signature(weights: Mapping[str, Tensor]) -> Signature:
    """Width, number of blocks, width of their MLPs, channels, side of a patch."""
    width, channels, patch, _ = weights['patch_embed.proj.weight'].shape
    blocks = {name.split('.')[1] for name in weights if name.startswith('blocks.')}
    return width, len(blocks), weights['blocks.0.mlp.fc1.weight'].shape[0], channels, patch


def _words(signature: Signature) -> str:
    width, depth, mlp, channels, patch = signature
    return f'{depth} blocks of width {width} (MLP {mlp}), {channels} channel(s), patch {patch}'
