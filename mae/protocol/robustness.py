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

from mae.apis import load_config, test
from mae.fault_tolerance.work_dir import tidy_start
from mae.protocol.identity import sha256_of
from mae.registry import DATASETS
from mae.utils.errors import CheckpointError, ConfigError, DataError
from mae.utils.hardware import software
from mae.utils.package_files import package_path
from mae.utils.vit_sizes import ARCHS
from mae.zoo.fetch import find_file
from mae.zoo.formats import load_weights

NUM_CLASSES = 1000
_METRICS = {'mCE': 'mce', 'Mean Error': 'mean_error', 'Top 1 Accuracy': 'top1'}  # in metafiles


@dataclass(frozen=True)
class RobustnessSet:
    """A set of images to evaluate.

    Attributes:
        key: in the names of configs.
        title: of the set.
        folders: names that its folder has, the usual one first; case, `-` and `_` do not matter.
        metric: the one in the table.
    """

    key: str
    title: str
    folders: tuple[str, ...]
    metric: str = 'top1'


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
    RobustnessSet('in-real', 'ImageNet val, ReaL labels', ('imagenet',)),
)


@dataclass(frozen=True)
class FineTuned:
    """A checkpoint and the start of the configs that fit it.

    Attributes:
        path: of the file.
        arch: such as 'vit-base-p16'.
        size: height and width of the images in pixels.
    """

    path: Path
    arch: str
    size: int

    def config(self, key: str) -> str:
        """Name of the config that evaluates it on a set."""
        return f'{self.arch}_test-8xb128_{key}{"" if self.size == 224 else f"-{self.size}"}'


def read_weights(checkpoint: str | Path, model: str | None = None) -> FineTuned:
    """Tell the model of a checkpoint from its shapes.

    Args:
        checkpoint: path, name of `list_models`, or address.
        model: 'base', 'large' or 'huge', that it must be; None takes what it is.

    Raises:
        CheckpointError: it cannot be read, has no head of 1000 classes, or is another model.
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
            f'{checkpoint} tells {len(head)} classes apart; these sets need a classifier of the '
            f'{NUM_CLASSES} of ImageNet-1k'
        )
    width, patch = patches.shape[0], patches.shape[-1]
    depth = len({name.split('.')[2] for name in state if name.startswith('encoder.blocks.')})
    found = [n for n, arch in ARCHS.items() if (arch['embed_dim'], arch['depth']) == (width, depth)]
    told = found[0] if found else f'ViT {width} wide and {depth} blocks deep'
    if not found or (model or found[0]) != found[0]:
        raise CheckpointError(f'{checkpoint} is a {told}, not one of {model or ", ".join(ARCHS)}')
    tokens = state['encoder.pos_embed'].shape[1] - ('encoder.cls_token' in state)
    return FineTuned(fetched.path, f'vit-{found[0]}-p{patch}', patch * round(tokens**0.5))


def evaluate_robustness(
    weights: FineTuned,
    data: Path,
    work_dir: Path,
    *,
    configs: Path | None = None,
    options: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """Evaluate every set that is on the disk, one after the other in this process.

    All of them are looked through before the first is evaluated, so that a missing folder shows
    at the start.

    Args:
        weights: from `read_weights`.
        data: folder with those of the sets.
        work_dir: for the logs, a folder for each set.
        configs: folder of the configs and their `metafile.yml`; None takes `configs/robustness`.
        options: changes of every config.
        allow_missing: evaluate what there is of ImageNet-C.

    Returns:
        dict(arch, size, checkpoint, sha256, rows, missing, versions); a row is a dict(key, title,
        config, folder, metric, ours, published, num_samples, seconds, metrics), a missing set one
        of (title, folders).

    Raises:
        DataError: there is none of the sets, or one is not whole.
        ConfigError: there is no config for this model.
        CheckpointError: the weights do not fit it.
    """
    configs = configs or _shipped()
    places = {each: find_folder(data, each) for each in SETS}
    jobs: list[tuple[RobustnessSet, Path, Config]] = []
    for each, folder in places.items():
        if folder is not None:
            jobs.append((each, folder, _config(weights, each, folder, configs, options or {})))
            if allow_missing and each.metric == 'mce':
                jobs[-1][2].test_dataloader.dataset.source.allow_missing = True
    if not jobs:
        known = ', '.join(each.folders[0] for each in SETS)
        raise DataError(f'{data}: none of the sets is here; expected folders such as {known}')
    for each, _, config in jobs:
        try:
            DATASETS.build(config.test_dataloader.dataset.source)
        except (ConfigError, DataError) as error:
            raise type(error)(f'{each.title}: {error}') from None
    published = read_published(configs / 'metafile.yml')
    rows = [_row(weights, *job, published, work_dir) for job in jobs]
    return {
        'arch': weights.arch,
        'size': weights.size,
        'checkpoint': str(weights.path),
        'sha256': sha256_of(weights.path),
        'rows': rows,
        'missing': [
            {'title': each.title, 'folders': list(each.folders)}
            for each, folder in places.items()
            if folder is None
        ],
        'versions': software(),
    }


def find_folder(data: Path, wanted: RobustnessSet) -> Path | None:
    """The folder of a set in `data`, or None.

    Raises:
        DataError: `data` is no folder.
    """
    if not data.is_dir():
        raise DataError(f'{data}: no such folder; expected the folders of the sets in it')
    there = {_plain(path.name): path for path in sorted(data.iterdir()) if path.is_dir()}
    return next((there[n] for n in map(_plain, wanted.folders) if n in there), None)


def read_published(metafile: Path) -> dict[tuple[str, str], float]:
    """Published numbers by name of a config and of a metric here; none without a metafile.

    Of several for the same, the first one in the file counts. Words, as where sources disagree, are
    no number.

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
    weights: FineTuned,
    wanted: RobustnessSet,
    folder: Path,
    configs: Path,
    options: Mapping[str, Any],
) -> Config:
    path = configs / f'{weights.config(wanted.key)}.py'
    if not path.is_file():
        raise ConfigError(f'{path}: no config evaluates {weights.arch} on {wanted.title}')
    root = {'test_dataloader.dataset.source.root': str(folder)}
    return load_config(path, {**root, **options})


def _row(
    weights: FineTuned,
    wanted: RobustnessSet,
    folder: Path,
    config: Config,
    published: Mapping[tuple[str, str], float],
    work_dir: Path,
) -> dict[str, Any]:
    started = time.perf_counter()
    config.work_dir = str(work_dir / wanted.key)
    with tidy_start(config.work_dir):
        metrics = test(config, weights.path)
    gc.collect()  # runner and model refer to each other
    metric = _metric_of(metrics, wanted.metric)
    stem = Path(config.filename).stem
    return {
        'key': wanted.key,
        'title': wanted.title,
        'config': stem,
        'folder': str(folder),
        'metric': metric,
        'ours': metrics[metric],
        'published': published.get((stem, metric)),
        'num_samples': metrics.get('num_samples'),
        'seconds': time.perf_counter() - started,
        'metrics': metrics,
    }


def _metric_of(metrics: Mapping[str, float], wanted: str) -> str:
    """The metric of the table; of a part of ImageNet-C the one that says so."""
    names = [wanted]
    if wanted == 'mce':
        names += [name for name in metrics if name.startswith('mean_ce_of_')]
    for name in (*names, 'top1'):
        if name in metrics:
            return name
    raise ConfigError(f'test_evaluator gives no {wanted}, only {", ".join(metrics)}')


def _shipped() -> Path:
    root = package_path('configs')
    if root is None:
        raise ConfigError('the package came without its configs: install it again')
    return root / 'robustness'


def _plain(name: str) -> str:
    return re.sub('[-_]', '', name.lower())
