"""A fine-tuned model on every robustness set that is on the disk, beside the published numbers."""

import gc
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load
from torch.utils.data import DataLoader

from mae.apis import load_config, test
from mae.engine import Runner
from mae.fault_tolerance.work_dir import tidy_start
from mae.protocol.identity import sha256_of
from mae.utils.errors import CheckpointError, ConfigError, DataError
from mae.utils.hardware import software
from mae.utils.package_files import package_path
from mae.utils.vit_sizes import ARCHS, arch_name, count_blocks
from mae.zoo.fetch import find_file
from mae.zoo.formats import load_weights

NUM_CLASSES = 1000
_METRICS = {'mCE': 'mce', 'Mean Error': 'mean_error', 'Top 1 Accuracy': 'top1'}  # in metafiles


@dataclass(frozen=True)
class RobustnessSet:
    """A data set that measures robustness.

    Attributes:
        key: what the names of its configs end in, such as 'in-a'.
        title: its name in the table.
        folders: names that its folder may have, the usual one first; case, `-` and `_` do not
            matter.
        metric: name of the metric in the table.
        split: folder in it without which the set is not there; '' for none.
    """

    key: str
    title: str
    folders: tuple[str, ...]
    metric: str = 'top1'
    split: str = ''


SETS = (
    RobustnessSet('in-c', 'ImageNet-C', ('imagenet-c',), 'mce'),
    RobustnessSet('in-a', 'ImageNet-A', ('imagenet-a',)),
    RobustnessSet('in-r', 'ImageNet-R', ('imagenet-r',)),
    RobustnessSet('in-sketch', 'ImageNet-Sketch', ('imagenet-sketch', 'sketch')),
    RobustnessSet(
        'in-v2',
        'ImageNet-V2, matched frequency',
        ('imagenetv2-matched-frequency-format-val', 'imagenetv2-matched-frequency', 'imagenetv2'),
    ),
    RobustnessSet('in-real', 'ImageNet val, ReaL labels', ('imagenet',), split='val'),
)


@dataclass(frozen=True)
class FineTunedModel:
    """A checkpoint with a classifier of ImageNet-1k, and which network it is of.

    Attributes:
        path: the checkpoint.
        arch: such as 'vit-base-p16'.
        size: height and width of the images in pixels.
    """

    path: Path
    arch: str
    size: int

    def config(self, key: str) -> str:
        """Name of the config that evaluates it on a set."""
        return f'{self.arch}_test-8xb128_{key}{"" if self.size == 224 else f"-{self.size}"}'


def identify_model(checkpoint: str | Path, size: str | None = None) -> FineTunedModel:
    """Which model a fine-tuned checkpoint is of, by the shapes of its tensors.

    Args:
        checkpoint: path, name of `list_models`, or address.
        size: 'base', 'large' or 'huge': another one is refused; None takes all.

    Raises:
        CheckpointError: it cannot be read, has no head of 1000 classes, or is of another size.
    """
    fetched = find_file(checkpoint)
    state = load_weights(fetched.path, fetched.proof)['state_dict']
    head, patches = state.get('head.fc.weight'), state.get('encoder.patch_embed.proj.weight')
    if head is None:
        raise CheckpointError(
            f'{checkpoint} has no head: it was not fine-tuned; fine-tune it first (tools/train.py '
            'with a config of configs/finetune)'
        )
    if patches is None or len(head) != NUM_CLASSES:
        raise CheckpointError(
            f'{checkpoint} has a head of {len(head)} classes; these sets need a classifier of the '
            f'{NUM_CLASSES} of ImageNet-1k'
        )
    width, patch = patches.shape[0], patches.shape[-1]
    depth = count_blocks(state)
    name = arch_name(width, depth)
    if name is None or (size or name) != name:
        found = name or f'ViT {width} wide and {depth} blocks deep'
        raise CheckpointError(f'{checkpoint} is a {found}, not one of {size or ", ".join(ARCHS)}')
    tokens = state['encoder.pos_embed'].shape[1] - ('encoder.cls_token' in state)
    return FineTunedModel(fetched.path, f'vit-{name}-p{patch}', patch * round(tokens**0.5))


def evaluate_robustness(
    model: FineTunedModel,
    data: Path,
    work_dir: Path,
    *,
    configs: Path | None = None,
    options: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """Evaluate every set that is on the disk, one after the other in this process.

    The files of all of them are listed before the first is evaluated, so that a missing folder is
    reported at the start.

    Args:
        model: what `identify_model` returns.
        data: folder that holds the folders of the sets.
        work_dir: gets a folder with logs for each set.
        configs: folder of the configs and their `metafile.yml`; None takes `configs/robustness`.
        options: dotted key to value, set in every config.
        allow_missing: whether ImageNet-C may lack corruptions, severities, classes or images.

    Returns:
        dict(arch, size, checkpoint, sha256, rows, missing, versions); a row is a dict(key, title,
        config, folder, metric, ours, published, num_samples, seconds, metrics), a missing set one
        of (title, folders).

    Raises:
        DataError: `data` holds none of the sets, or a set lacks files.
        ConfigError: there is no config for this model.
        CheckpointError: the checkpoint does not fit the config.
    """
    configs = configs or _shipped_configs()
    folders = {dataset: find_folder(data, dataset) for dataset in SETS}
    jobs: list[tuple[RobustnessSet, Path, Config]] = []
    for dataset, folder in folders.items():
        if folder is not None:
            config = _config(model, dataset, folder, configs, options or {})
            if allow_missing and dataset.metric == 'mce':
                config.test_dataloader.dataset.source.allow_missing = True
            jobs.append((dataset, folder, config))
    if not jobs:
        known = ', '.join(dataset.folders[0] for dataset in SETS)
        raise DataError(f'{data}: none of the sets is here; expected folders such as {known}')
    loaders = [_loader(dataset, config) for dataset, _, config in jobs]
    published = read_published(configs / 'metafile.yml')
    rows = [
        _row(model, *job, loader, published, work_dir)
        for job, loader in zip(jobs, loaders, strict=True)
    ]
    return {
        'arch': model.arch,
        'size': model.size,
        'checkpoint': str(model.path),
        'sha256': sha256_of(model.path),
        'rows': rows,
        'missing': [
            {'title': dataset.title, 'folders': list(dataset.folders)}
            for dataset, folder in folders.items()
            if folder is None
        ],
        'versions': software(),
    }


def find_folder(data: Path, dataset: RobustnessSet) -> Path | None:
    """The folder of a set in `data`, or None.

    Raises:
        DataError: `data` is no folder.
    """
    if not data.is_dir():
        raise DataError(f'{data}: no such folder; expected the folders of the sets in it')
    folders = (path for path in sorted(data.iterdir()) if (path / dataset.split).is_dir())
    found = {_without_dashes(path.name): path for path in folders}
    return next((found[n] for n in map(_without_dashes, dataset.folders) if n in found), None)


def read_published(metafile: Path) -> dict[tuple[str, str], float]:
    """Published numbers of a metafile, by (config, metric); empty if there is no metafile.

    Metrics have the names that the evaluators give them. Of several numbers for one pair the first
    in the file is taken. Texts, such as '37 and 38', are skipped.

    Raises:
        ConfigError: an entry lacks its config.
    """
    if not metafile.is_file():
        return {}
    meta = load(metafile)
    found: dict[tuple[str, str], float] = {}
    for entry in (*(meta.get('Models') or ()), *(meta.get('Published') or ())):
        if 'Config' not in entry:
            raise ConfigError(f'{metafile}: {entry.get("Name", entry)} has no Config')
        stem = Path(entry['Config']).stem
        for result in entry.get('Results') or (entry,):
            for name, value in result.get('Metrics', {}).items():
                if isinstance(value, int | float):
                    found.setdefault((stem, _METRICS.get(name, name)), float(value))
    return found


def _config(
    model: FineTunedModel,
    dataset: RobustnessSet,
    folder: Path,
    configs: Path,
    options: Mapping[str, Any],
) -> Config:
    path = configs / f'{model.config(dataset.key)}.py'
    if not path.is_file():
        raise ConfigError(f'{path}: no config evaluates {model.arch} on {dataset.title}')
    root = {'test_dataloader.dataset.source.root': str(folder)}
    return load_config(path, {**root, **options})


def _loader(dataset: RobustnessSet, config: Config) -> DataLoader[Any]:
    try:
        return Runner.build_dataloader(config.test_dataloader)
    except (ConfigError, DataError) as error:
        raise type(error)(f'{dataset.title}: {error}') from None


def _row(
    model: FineTunedModel,
    dataset: RobustnessSet,
    folder: Path,
    config: Config,
    loader: DataLoader[Any],
    published: Mapping[tuple[str, str], float],
    work_dir: Path,
) -> dict[str, Any]:
    started = time.perf_counter()
    config.work_dir = str(work_dir / dataset.key)
    with tidy_start(config.work_dir):
        metrics = test(config, model.path, dataloader=loader)
    gc.collect()  # runner and model refer to each other
    metric = _metric_of(metrics, dataset.metric)
    stem = Path(config.filename).stem
    return {
        'key': dataset.key,
        'title': dataset.title,
        'config': stem,
        'folder': str(folder),
        'metric': metric,
        'ours': metrics[metric],
        'published': published.get((stem, metric)),
        'num_samples': metrics.get('num_samples'),
        'seconds': time.perf_counter() - started,
        'metrics': metrics,
    }


def _metric_of(metrics: Mapping[str, float], metric: str) -> str:
    """Name of the metric in the table; where ImageNet-C is incomplete, `mean_ce_of_...`."""
    names = [metric]
    if metric == 'mce':
        names += [name for name in metrics if name.startswith('mean_ce_of_')]
    for name in (*names, 'top1'):
        if name in metrics:
            return name
    raise ConfigError(f'test_evaluator gives no {metric}, only {", ".join(metrics)}')


def _shipped_configs() -> Path:
    root = package_path('configs')
    if root is None:
        raise ConfigError('the package came without its configs: install it again')
    return root / 'robustness'


def _without_dashes(name: str) -> str:
    return re.sub('[-_]', '', name.lower())
