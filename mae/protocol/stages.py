"""What the protocol runs, in the order of the table: configs and how each run changes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mmengine.config import Config

from mae.config import load_config, parse_options
from mae.protocol import PROTOCOLS
from mae.protocol.recipes import Recipe, shipped_name
from mae.utils.errors import ConfigError

SOURCE = 'train_dataloader.dataset.source'


@dataclass(frozen=True)
class Stage:
    """A row of the table: the same run once for each seed.

    Attributes:
        key: of its folders. Rows of one key are one run: partial fine-tuning of all blocks is
            fine-tuning.
        title: for people.
        protocol: one of `PROTOCOLS`, or 'pretrain'.
        config: its name or path.
        share: of the labels, if not all.
        shots: labels a class, if not all.
        blocks: trained, if not all.
    """

    key: str
    title: str
    protocol: str
    config: str
    share: float | None = None
    shots: int | None = None
    blocks: float | None = None

    @property
    def is_test(self) -> bool:
        return self.protocol == 'knn'

    @property
    def is_seeded(self) -> bool:
        """Whether a seed makes a difference."""
        return self.protocol not in ('pretrain', 'knn')

    @property
    def is_pretrained(self) -> bool:
        """Whether it begins with a checkpoint."""
        return self.protocol not in ('pretrain', 'scratch')


def stages_of(recipe: Recipe, arch: str, protocols: Sequence[str]) -> list[Stage]:
    """The rows that are asked for.

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
            Stage('scratch', 'from scratch', 'scratch', shipped_name(arch, recipe.scratch))
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
    """As it is in its file; not to be changed."""
    return _read(stage.config)


@cache
def _read(name: str) -> Config:
    return load_config(name)


def options_of(
    stage: Stage, seed: int, data: str | None, given: Sequence[str]
) -> tuple[list[str], Config]:
    """The `--cfg-options` of one run, and the config as they change it.

    Args:
        stage: what runs.
        seed: also chooses which images are labelled, where not all are.
        data: root of the dataset, if another than the config's.
        given: by the user, for every run whose config has their section.

    Raises:
        ConfigError: an option does not fit the config.
    """
    plain = config_of(stage)
    options = [f'{path}.root={data}' for path in roots(plain)] if data else []
    if stage.share is not None or stage.shots is not None:
        options = _labelled(stage, seed, options)
    if stage.blocks is not None:
        options.append(f'model.trainable_blocks={stage.blocks:g}')
    options += [option for option in given if section_of(option) in plain]
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
    """Adds that only a share of the labels is known."""
    changed = load_config(config_of(stage), parse_options(options))
    source = changed.train_dataloader.dataset.source
    if source.type != 'Subset' and stage.share == 1:
        return [*options]
    if source.type == 'Subset' and source.get('fraction') == stage.share and not stage.shots:
        return [*options, f'{SOURCE}.seed={seed}']
    inside = source.source if source.type == 'Subset' else source
    chosen = {'fraction': stage.share} if stage.shots is None else {'per_class': stage.shots}
    subset = {'type': 'Subset', 'source': inside.to_dict(), **chosen, 'seed': seed}
    others = [option for option in options if not option.startswith(f'{SOURCE}.')]
    return [*others, f'{SOURCE}._delete_=True', f'{SOURCE}={subset}']


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
