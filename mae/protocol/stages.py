"""From a recipe to stages, and from a stage to the config that a run changes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mae.config import load_config, parse_options
from mae.fault_tolerance.checkpoint.folder import SHARDED
from mae.protocol import PROTOCOLS
from mae.protocol.presets import Preset, Stage
from mae.protocol.recipes import RECIPES, Recipe, find_recipe, shipped_name
from mae.utils.errors import CheckpointError, ConfigError

_WEIGHTS = ('.pth', '.pt', '.bin', '.safetensors', SHARDED)
SOURCE = 'train_dataloader.dataset.source'


def preset_of(start: str, protocols: Sequence[str], data: str | None = None) -> Preset:
    """Stages that the recipe of an architecture and its data runs.

    Args:
        start: a pre-training config, by name or path, or a checkpoint of one.
        protocols: which of `PROTOCOLS`.
        data: key of `RECIPES`; None finds it, see `find_recipe`.

    Raises:
        ConfigError: a config is missing, or `start` is not one of pre-training.
        CheckpointError: the checkpoint cannot be used.
    """
    path = Path(start).expanduser()
    if path.suffix not in _WEIGHTS:
        key, arch = find_recipe(_pretraining(start), data)
        pretrain, checkpoint = Stage('pretrain', 'pre-training', 'pretrain', start), None
    elif path.exists():
        (key, arch), pretrain, checkpoint = find_recipe(path, data), None, path
    else:
        raise CheckpointError(f'no such checkpoint: {path}')
    recipe = RECIPES[key]
    stages = stages_of(recipe, arch, protocols)
    return Preset(f'{arch} on {recipe.title}', stages, pretrain, checkpoint, recipe.takes_gpus)


def stages_of(recipe: Recipe, arch: str, protocols: Sequence[str]) -> list[Stage]:
    """Rows of the protocols, in the order of the table.

    Raises:
        ConfigError: a config is missing.
    """
    whole = recipe.finetune[1.0]
    few = recipe.finetune[min(recipe.finetune)]
    rows = {
        'knn': [Stage('knn', 'k-NN', 'knn', shipped_name(arch, recipe.knn))],
        'linear': [Stage('linear', 'linear probe', 'linear', shipped_name(arch, recipe.linear))],
        'partial': [
            *(_partial(n, shipped_name(arch, _part(recipe, n), whole)) for n in recipe.blocks),
            Stage(_tuned(1.0), 'partial, all blocks', 'partial', shipped_name(arch, whole), 1.0),
        ],
        'finetune': [
            Stage(
                _tuned(share),
                f'fine-tuned, {100 * share:g} % of the labels',
                'finetune',
                shipped_name(arch, pattern, whole),
                share,
            )
            for share, pattern in sorted(recipe.finetune.items())
        ],
        'scratch': [
            row
            for share, pattern in sorted(recipe.scratch.items())
            for row in _scratch(recipe, share, shipped_name(arch, pattern))
        ],
        'few-shot': [
            Stage(
                f'few-shot-{shots}',
                f'few-shot, {shots} a class',
                'few-shot',
                shipped_name(arch, few, whole),
                shots=shots,
            )
            for shots in recipe.shots
        ],
    }
    return [row for protocol in PROTOCOLS if protocol in protocols for row in rows[protocol]]


def config_of(stage: Stage) -> Config:
    """Config of a stage as shipped; cached, so it must not be changed."""
    return _read(stage.config)


@cache
def _read(name: str) -> Config:
    return load_config(name)


def options_of(
    stage: Stage, seed: int, data: str | None, given: Sequence[str]
) -> tuple[list[str], Config]:
    """The `--cfg-options` of one run, and the config as they change it.

    Args:
        seed: also chooses which images are labelled, where not all are.
        data: root of the dataset, if another than the config's.
        given: options of the user; one reaches every run whose config has its section.

    Raises:
        ConfigError: an option does not fit the config.
    """
    plain = config_of(stage)
    options = [f'{path}.root={data}' for path in roots(plain)] if data else []
    if stage.base_lr is not None:
        options.append(f'base_lr={stage.base_lr:g}')
    if stage.share is not None or stage.shots is not None:
        options = _labelled(stage, seed, options)
    if stage.seeds_scenes:
        options.append(f'{SOURCE}.seed={seed}')
    if stage.blocks is not None:
        options.append(f'model.trainable_blocks={stage.blocks:g}')
    fitting = [option for option in given if section_of(option) in plain]
    options += _longer(stage, fitting) if stage.times > 1 else fitting
    return options, load_config(plain, parse_options(options))


def section_of(option: str) -> str:
    """First part of the key of KEY=VALUE."""
    return option.partition('=')[0].partition('.')[0]


def roots(config: Config) -> list[str]:
    """Dotted keys of all data sources that have a root folder."""
    return list(_roots(config._cfg_dict, ''))


def _roots(node: Any, path: str) -> list[str]:
    if isinstance(node, dict):
        inner = [found for key, child in node.items() for found in _roots(child, f'{path}.{key}')]
        return [path.lstrip('.'), *inner] if 'root' in node else inner
    if isinstance(node, list | tuple):
        return [f for i, child in enumerate(node) for f in _roots(child, f'{path}.{i}')]
    return []


def _labelled(stage: Stage, seed: int, options: Sequence[str]) -> list[str]:
    """Adds that only some labels are used."""
    changed = load_config(config_of(stage), parse_options(options))
    source = changed.train_dataloader.dataset.source
    if source.type != 'Subset' and stage.share == 1:
        return [*options]
    chosen = {'fraction': stage.share} if stage.shots is None else {'per_class': stage.shots}
    if source.type == 'Subset' and all(source.get(k) == v for k, v in chosen.items()):
        return [*options, f'{SOURCE}.seed={seed}']
    inside = source.source if source.type == 'Subset' else source
    subset = {'type': 'Subset', 'source': inside.to_dict(), **chosen, 'seed': seed}
    others = [option for option in options if not option.startswith(f'{SOURCE}.')]
    return [*others, f'{SOURCE}._delete_=True', f'{SOURCE}={subset}']


def _longer(stage: Stage, options: Sequence[str]) -> list[str]:
    """Options with the epochs multiplied."""
    key = 'train_cfg.max_epochs'
    config = load_config(config_of(stage), parse_options(options))
    others = [option for option in options if not option.startswith(f'{key}=')]
    return [f'{key}={stage.times * config.train_cfg.max_epochs}', *others]


def _scratch(recipe: Recipe, share: float, config: str) -> list[Stage]:
    """The row of a share of the labels, and those of longer training."""
    grids = recipe.scratch_base_lrs.get(share, {})
    is_whole = share == 1
    plain = Stage(
        'scratch' if is_whole else f'scratch-{100 * share:g}pct',
        'from scratch' + ('' if is_whole else f', {100 * share:g} % of the labels'),
        'scratch',
        config,
        None if is_whole else share,
        base_lrs=grids.get(1, ()),
    )
    longer = [
        replace(
            plain,
            key=f'{plain.key}-{times}x',
            title=f'{plain.title}, {times} times the epochs',
            base_lrs=rates,
            times=times,
        )
        for times, rates in grids.items()
        if times > 1
    ]
    return [plain, *longer]


def _partial(blocks: float, config: str) -> Stage:
    names = {0: 'no block', 0.5: 'half a block', 1: '1 block'}
    title = f'partial, {names.get(blocks, f"{blocks:g} blocks")}'
    return Stage(f'partial-{blocks:g}', title, 'partial', config, blocks=blocks)


def _part(recipe: Recipe, blocks: float) -> str:
    """The pattern of partial fine-tuning with its number of blocks."""
    part = 'half' if blocks == 0.5 else f'last{blocks:g}'
    return recipe.partial.replace('{part}', part)


def _tuned(share: float) -> str:
    return f'finetune-{100 * share:g}pct'


def check_options(stages: Sequence[Stage], given: Sequence[str]) -> None:
    """Refuse options that change nothing.

    Raises:
        ConfigError: none of the configs has the section of one.
    """
    sections = {key for stage in stages for key in config_of(stage)}
    for option in given:
        if section_of(option) not in sections:
            raise ConfigError(f'--cfg-options {option}: no config of the protocol has its section')


def _pretraining(start: str) -> Config:
    config = load_config(start)
    if 'head' in config.model or not config.get('train_dataloader'):
        raise ConfigError(
            f'{config.filename} describes no pre-training; give the config of one, or a checkpoint'
        )
    return config
