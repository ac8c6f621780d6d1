"""Reads MAE configs of mmselfsup 0.x and 1.x and of mmpretrain: pre-train, fine-tune, linear."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mae.config.imports.harmless import check_harmless
from mae.config.imports.old_openmmlab import is_old, modernised
from mae.config.imports.openmmlab_model import frozen_blocks, read_classifier, read_pretraining
from mae.config.imports.openmmlab_optimizer import read_optimizer, read_schedule
from mae.config.imports.pipelines import Pipeline, test_pipeline, train_pipeline
from mae.config.imports.recipe import UNSTATED, ImportedRecipe, RecipeJob, Unread, dicts_of, type_of
from mae.config.imports.tables import MODEL_ROWS, NEEDLESS, RUN_ROWS, full_arch, mlp_ratio_of_arch
from mae.config.load import read_config
from mae.config.source import find_helpers, read_source
from mae.utils.errors import ConfigError
from mae.utils.text import one_line

_ENCODERS = ('MAEViT', 'VisionTransformer', 'MIMVisionTransformer', 'MAEClsViT')
_CLASSIFIERS = ('ImageClassifier', 'Classification', 'MAEClassification')


def read_openmmlab(path: Path, devices: int | None = None) -> ImportedRecipe:
    """Read a config.

    Args:
        path: of a Python file that only states values; see `check_harmless`.
        devices: number of devices it was for; None takes it from the name, or else from
            `auto_scale_lr`.

    Raises:
        ConfigError: it is no config of MAE, is of an encoder that is not here, cannot be run, or
            does not say how large the batch is; one line.
    """
    source = read_source(path.resolve(), is_trusted=False)
    check_harmless(source)
    config = read_config(path, source).to_dict()
    helpers = find_helpers(source).files
    config = {key: value for key, value in config.items() if key not in helpers}
    try:
        return _read(config, path, devices)
    except ConfigError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        what = f'{type(error).__name__}: {one_line(error)}'
        raise ConfigError(f'{path}: a value has another form than in mmpretrain: {what}') from error


def _read(config: Mapping[str, Any], path: Path, devices: int | None) -> ImportedRecipe:
    old = is_old(config)
    unread = Unread(modernised(config) if old else config)
    job, ratio = _job(unread, path), mlp_ratio_of_arch(unread.look('model.backbone.arch'))
    recipe = ImportedRecipe(f'{path.name} (mmselfsup 0.x)' if old else path.name, job)
    for row in (*MODEL_ROWS[job], *RUN_ROWS):
        recipe.apply(row, unread.take(row.old))
    if ratio != 4:
        recipe.values['model.encoder.mlp_ratio'] = ratio
    if job == 'pretrain':
        read_pretraining(unread, recipe)
    else:
        read_classifier(unread, recipe, job)
    _data(unread, recipe, job)
    read_optimizer(unread, recipe, job)
    read_schedule(unread, recipe)
    _batch(unread, recipe, path, devices)
    for key, value in unread.rest():
        if value and not _is_needless(key):
            recipe.leave_out(key, value)
    return recipe


def _job(unread: Unread, path: Path) -> RecipeJob:
    """What the model is for."""
    model = unread.take('model.type')
    if model is UNSTATED:
        raise ConfigError(f'{path} is no config of mmselfsup or mmpretrain: it has no model.type')
    model = str(getattr(model, '__name__', model)).split('.')[-1]
    encoder = type_of(unread.look('model.backbone'))
    if model not in ('MAE', *_CLASSIFIERS):
        raise ConfigError(f'{path}: model.type={model!r} is not imported; MAE and its tests are')
    if encoder not in _ENCODERS:
        raise ConfigError(
            f'{path}: model.backbone.type={encoder!r} is not supported; the plain ViT is '
            f'({", ".join(_ENCODERS)})'
        )
    unread.take('model.backbone.type')
    try:
        arch = full_arch(unread.look('model.backbone.arch', 'base'))
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    if model == 'MAE':
        return 'pretrain'
    is_probe = 'Linprobe' in type_of(unread.look('model.head'))
    is_probe |= type_of(unread.look('model.neck')) == 'ClsBatchNormNeck'
    frozen, depth = frozen_blocks(unread, arch)
    return 'linear' if is_probe or 0 < depth <= frozen else 'ft'


def _data(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    values, place = recipe.values, 'train_dataloader.dataset'
    key = f'{place}.pipeline'
    steps = dicts_of(unread.take(key, None))
    pipeline = train_pipeline(steps, recipe, key)
    if steps:
        values[key] = pipeline.steps
    else:
        recipe.left_out.append(f'{key} is missing: that of the shipped config stays')
    if job != 'pretrain':
        values['model.preprocessor.erase'] = pipeline.erase
        key = 'val_dataloader.dataset.pipeline'
        values[key] = test_pipeline(dicts_of(unread.take(key, None)), recipe, key).steps
    _statistics(unread, recipe, pipeline)
    kind = type_of(unread.look(place))
    root = unread.take(f'{place}.data_root', None)
    prefix = unread.take(f'{place}.data_prefix', None)
    if root is None and isinstance(prefix, str):  # mmselfsup 0.x names the folder of the split
        root = str(Path(prefix).parent)
    if kind in ('ImageNet', 'CustomDataset', 'SingleViewDataset') and root:
        values[f'{place}.source.root'] = str(root).rstrip('/')
    else:
        recipe.leave_out(f'{place}.type', kind, f'state {place}.source')
    for evaluator in ('val_evaluator', 'test_evaluator'):
        metric = unread.take(evaluator, None)
        if metric and type_of(metric) != 'Accuracy':
            recipe.leave_out(evaluator, metric, 'is top-1 and top-5')
    backends = dicts_of(unread.look('visualizer.vis_backends'))
    if any(type_of(backend) != 'LocalVisBackend' for backend in backends):
        recipe.leave_out('visualizer.vis_backends', backends, 'state it in the new config')
    sampler = unread.look('train_dataloader.sampler')
    if type_of(sampler) not in ('', 'DefaultSampler'):
        recipe.leave_out('train_dataloader.sampler', sampler, 'is `GlobalBatchSampler`')


def _statistics(unread: Unread, recipe: ImportedRecipe, pipeline: Pipeline) -> None:
    for name, found in (('mean', pipeline.mean), ('std', pipeline.std)):
        for place in ('model.data_preprocessor', 'data_preprocessor'):
            stated = unread.take(f'{place}.{name}', None)
            found = found if stated is None else list(stated)
        if found is not None:
            recipe.values[f'model.preprocessor.{name}'] = found


def _batch(unread: Unread, recipe: ImportedRecipe, path: Path, devices: int | None) -> None:
    """The global batch, by which the learning rate is stated."""
    batch = recipe.values.get('train_dataloader.batch_size')
    if not batch:
        raise ConfigError(f'{path}: train_dataloader.batch_size is missing')
    steps = unread.take('optim_wrapper.accumulative_counts', 1)
    scaled = unread.take('auto_scale_lr.base_batch_size', None)
    unread.take('auto_scale_lr')
    named = re.search(r'(\d+)xb(\d+)', path.stem)
    total = (devices or 0) * batch * steps
    if named and not total and int(named[2]) == batch:
        total = int(named[1]) * batch * steps
    elif scaled and not total:
        total = scaled
        if named:
            why = f'the file has batch_size={batch}; the global batch is that of auto_scale_lr'
            recipe.leave_out('name', named[0], why)
    if not total:
        raise ConfigError(
            f'{path} does not say for how many devices it is, which its learning rate needs: '
            'add --devices N'
        )
    lr = unread.take('optim_wrapper.optimizer.lr')
    if lr is UNSTATED:
        raise ConfigError(f'{path}: optim_wrapper.optimizer.lr is missing')
    recipe.set_rate(lr, total)


def _is_needless(key: str) -> bool:
    return any(key == known or key.startswith(f'{known}.') for known in NEEDLESS)
