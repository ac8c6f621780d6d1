"""Which shipped configs evaluate a pre-trained encoder: one table, by data and architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mae.config import load_config, shipped_configs
from mae.config.grammar import parse_name
from mae.registry import MODELS
from mae.utils.errors import CheckpointError, ConfigError
from mae.utils.text import counted
from mae.zoo.formats import load_weights

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """Patterns of config names, in which `{arch}` is filled in; each must fit one shipped config.

    Attributes:
        title: of the data.
        archs: the encoders that have such configs.
        finetune: by share of the labels. Where a smaller share has no config, the config of all
            labels is used with that share.
        partial: with `{part}`, such as 'last2'. Where there is none, the config of all labels is
            used with that number of blocks.
        scratch: training from scratch, for comparison, by share of the labels.
        blocks: numbers of blocks trained in partial fine-tuning; a row of all blocks follows.
        shots: numbers of labels a class in few-shot fine-tuning, which uses the config of the
            smallest share.
        takes_gpus: on a CPU the runs would take months.
        scratch_base_lrs: grids of `base_lr` for training from scratch, by share of the labels: {1:
            for the epochs of the config, 3: for three times as many}. Of a grid the rate with the
            best mean over the seeds counts; an empty one, and 1 without an entry, is the rate of
            the config.
    """

    title: str
    archs: tuple[str, ...]
    knn: str
    linear: str
    finetune: Mapping[float, str]
    partial: str
    scratch: Mapping[float, str]
    blocks: tuple[float, ...]
    shots: tuple[int, ...]
    takes_gpus: bool
    scratch_base_lrs: Mapping[float, Mapping[int, tuple[float, ...]]] = field(default_factory=dict)


IMAGENET = Recipe(
    title='ImageNet-1k',
    archs=('vit-base-p16', 'vit-large-p16', 'vit-huge-p14'),
    knn='{arch}_knn-*_in1k',
    linear='{arch}_linear-8xb*_in1k',
    finetune={
        0.01: '{arch}_ft-8xb*_in1k-1pct',
        0.1: '{arch}_ft-8xb*_in1k-10pct',
        1.0: '{arch}_ft-8xb*e_in1k',
    },
    partial='{arch}_ft-{part}-8xb*_in1k',
    scratch={1.0: '{arch}_scratch-*_in1k'},
    blocks=(0, 0.5, 1, 2, 4),
    shots=(5, 10),
    takes_gpus=True,
)
DIGITS = Recipe(
    title='handwritten digits',
    archs=('vit-mini-p4',),
    knn='{arch}_knn-*_digits-16',
    linear='{arch}_linear-1xb*_digits-16',
    finetune={
        0.01: '{arch}_ft-1xb*_digits-16-1pct',
        0.1: '{arch}_ft-1xb*_digits-16-10pct',
        1.0: '{arch}_ft-1xb128-*_digits-16',
    },
    partial='{arch}_ft-{part}-1xb*_digits-16',
    scratch={1.0: '{arch}_scratch-1xb128-*_digits-16'},
    blocks=(0, 0.5, 1, 2),
    shots=(1, 5, 10),
    takes_gpus=False,
)
# Rates of about 5e-4 to 4e-3 at each batch size, twice as high from one to the next, so that the
# best is not the highest of its grid. With all labels, where runs are long, the lowest is left out,
# and three times the epochs take one rate.
FASHION = Recipe(
    title='Fashion-MNIST',
    archs=('vit-mini-p4',),
    knn='{arch}_knn-*_fashion-28',
    linear='{arch}_linear-1xb*_fashion-28',
    finetune={
        0.01: '{arch}_ft-1xb*_fashion-28-1pct',
        0.1: '{arch}_ft-1xb*_fashion-28-10pct',
        1.0: '{arch}_ft-1xb256-*_fashion-28',
    },
    partial='{arch}_ft-{part}-1xb*_fashion-28',
    scratch={
        0.01: '{arch}_scratch-1xb*_fashion-28-1pct',
        0.1: '{arch}_scratch-1xb*_fashion-28-10pct',
        1.0: '{arch}_scratch-1xb256-*_fashion-28',
    },
    blocks=(0, 1, 2),
    shots=(1, 5, 10),
    takes_gpus=False,
    scratch_base_lrs={
        0.01: {1: (2.5e-3, 5e-3, 1e-2, 2e-2), 3: (2.5e-3, 5e-3, 1e-2)},
        0.1: {1: (1.25e-3, 2.5e-3, 5e-3, 1e-2), 3: (1.25e-3, 2.5e-3, 5e-3)},
        1.0: {1: (1e-3, 2e-3, 4e-3), 3: (2e-3,)},
    },
)
# 200 steps from scratch take high rates: 1e-3 to 8e-3 at a batch of 40.
CROPS = Recipe(
    title='photo crops',
    archs=('vit-mini-p8',),
    knn='{arch}_knn-*_crops-32',
    linear='{arch}_linear-1xb*_crops-32',
    finetune={0.1: '{arch}_ft-1xb*_crops-32-10pct', 1.0: '{arch}_ft-1xb100-*_crops-32'},
    partial='{arch}_ft-{part}-1xb*_crops-32',
    scratch={0.1: '{arch}_scratch-1xb*_crops-32-10pct'},
    blocks=(0, 1, 2),
    shots=(1, 5, 10),
    takes_gpus=False,
    scratch_base_lrs={0.1: {1: (6.4e-3, 1.28e-2, 2.56e-2, 5.12e-2), 3: (1.28e-2, 2.56e-2)}},
)
RECIPES: Mapping[str, Recipe] = {
    'in1k': IMAGENET,
    'digits': DIGITS,
    'fashion': FASHION,
    'crops': CROPS,
}


def find_recipe(start: Config | Path, data: str | None = None) -> tuple[str, str]:
    """The data in `RECIPES` and the architecture whose k-NN config has the encoder of a start.

    Where several data sets have such configs, that one counts which the name of the pre-training
    config tells; then the one whose images have as many patches.

    Args:
        start: config of pre-training, or path of its checkpoint.
        data: key of `RECIPES` that it must be; the images may then be of another size.

    Raises:
        ConfigError: none has, or several have; lists those that there are.
        CheckpointError: it cannot be read or holds no encoder.
    """
    if isinstance(start, Path):
        name, wanted = str(start), _shape(_encoder_weights(start))
    else:
        name, wanted = start.filename, _shape_of(start)
    known = {
        (key, arch): _shape_of(load_config(shipped_name(arch, recipe.knn)))
        for key, recipe in RECIPES.items()
        if data in (None, key)
        for arch in recipe.archs
    }
    fits = [found for found, shape in known.items() if shape[:-1] == wanted[:-1]]
    if len(fits) > 1:
        named = _data_of(name)
        fits = [f for f in fits if f[0] == named] or [f for f in fits if known[f] == wanted]
    if len(fits) == 1:
        return fits[0]
    listed = ', '.join(
        f'{arch} of {RECIPES[key].title} ({_words(shape)})' for (key, arch), shape in known.items()
    )
    raise ConfigError(
        f'{name}: no evaluation configs for an encoder of {_words(wanted)}; there are some for '
        f'{listed}. Say which (--recipe), or add others to configs/ and to RECIPES in '
        'mae/protocol/recipes.py'
    )


def _data_of(name: str) -> str | None:
    """What the name of a config says of its data."""
    promise = parse_name(Path(name).stem)
    return promise.data if promise else None


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


def _shape_of(config: Config) -> Signature:
    with torch.device('meta'):
        encoder: Any = MODELS.build(config.model.encoder)
    return _shape(encoder.state_dict())


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


def _shape(weights: Mapping[str, Tensor]) -> Signature:
    """Width, number of blocks, width of their MLPs, channels, side of a patch, tokens."""
    width, channels, patch, _ = weights['patch_embed.proj.weight'].shape
    blocks = {name.split('.')[1] for name in weights if name.startswith('blocks.')}
    mlp, tokens = weights['blocks.0.mlp.fc1.weight'].shape[0], weights['pos_embed'].shape[1]
    return width, len(blocks), mlp, channels, patch, tokens


def _words(shape: Signature) -> str:
    width, depth, mlp, channels, patch, tokens = shape
    return (
        f'{counted(depth, "block")} of width {width} (MLP {mlp}), {counted(channels, "channel")}, '
        f'patch {patch}, {counted(tokens, "token")}'
    )
