"""Reads MAE configs of mmselfsup 0.x and 1.x and of mmpretrain: pre-train, fine-tune, linear."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mae.config.imports.harmless import check_harmless
from mae.config.imports.old_openmmlab import is_old, modernised
from mae.config.imports.pipelines import Pipeline, test_pipeline, train_pipeline
from mae.config.imports.recipe import UNSTATED, ImportedRecipe, RecipeJob, Unread, dicts_of, type_of
from mae.config.imports.tables import MODEL_ROWS, NEEDLESS, RUN_ROWS
from mae.config.load import read_config
from mae.config.source import find_helpers, read_source
from mae.utils.errors import ConfigError
from mae.utils.text import one_line
from mae.utils.vit_sizes import ARCHS

_ENCODERS = ('MAEViT', 'VisionTransformer', 'MIMVisionTransformer', 'MAEClsViT')
_CLASSIFIERS = ('ImageClassifier', 'Classification', 'MAEClassification')
_PLAIN_LOSSES = ('MAEReconstructionLoss', 'PixelReconstructionLoss', 'CrossEntropyLoss')
# Starts of weights that ours have by themselves.
_STARTS = ('Xavier', 'Constant', 'TruncNormal')
_TOKENS = ('pos_embed', 'cls_token', 'mask_token')
_NO_VECTORS = ('ln', 'norm', 'bias')
# Parameters that a ViT does not have, in the schedules that their configs inherit.
_OF_SWIN = ('absolute_pos_embed', 'relative_position_bias_table')
_SMALL_START = 1e-3


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
    source = read_source(path.resolve())
    check_harmless(source)
    config = read_config(path, source).to_dict()
    helpers = find_helpers(source).files
    config = {key: value for key, value in config.items() if key not in helpers}
    try:
        return _read(config, path, devices)
    except ConfigError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        what = f'{type(error).__name__}: {one_line(error)}'
        raise ConfigError(f'{path}: a value has another form than in mmpretrain: {what}') from error


def _read(config: Mapping[str, Any], path: Path, devices: int | None) -> ImportedRecipe:
    old = is_old(config)
    unread = Unread(modernised(config) if old else config)
    job = _job(unread, path)
    recipe = ImportedRecipe(f'{path.name} (mmselfsup 0.x)' if old else path.name, job)
    for row in (*MODEL_ROWS[job], *RUN_ROWS):
        recipe.apply(row, unread.take(row.old))
    if job == 'pretrain':
        _pretraining(unread, recipe)
    else:
        _classifier(unread, recipe, job)
    _data(unread, recipe, job)
    _optimizer(unread, recipe, job)
    _schedule(unread, recipe)
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
    if model == 'MAE':
        return 'pretrain'
    frozen, arch = unread.look('model.backbone.frozen_stages', 0), unread.look(_ARCH)
    is_probe = type_of(unread.look('model.neck')) == 'ClsBatchNormNeck' or 'Linprobe' in type_of(
        unread.look('model.head')
    )
    depth = ARCHS.get(str(MODEL_ROWS['ft'][0].as_new(arch)), {}).get('depth', 0)  # type: ignore[misc]
    return 'linear' if is_probe or (depth and frozen >= depth) else 'ft'


_ARCH = 'model.backbone.arch'


def _pretraining(unread: Unread, recipe: ImportedRecipe) -> None:
    values = recipe.values
    values |= {'model.type': 'MAE', 'model.masker.type': 'RandomMasker'}
    values |= {'model.decoder.type': 'TransformerDecoder', 'model.target.type': 'PixelTarget'}
    for part in ('neck', 'head'):
        unread.take(f'model.{part}.type')
    _loss(unread, recipe)
    _starts(unread, recipe, 'model.init_cfg')


def _classifier(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    values = recipe.values
    values['model.type'] = 'Classifier'
    pool, smoothing = _pool(unread, job), _loss(unread, recipe)
    values['model.head.pool'] = pool
    values['model.encoder.final_norm'] = bool(unread.take('model.backbone.final_norm', True))
    if job == 'linear':
        unread.take('model.backbone.frozen_stages')
        values['model.head.norm'] = 'batch'
        values['model.trainable_blocks'] = 0
        values['model.encoder.final_norm'] = True
    else:
        values['model.head.norm'] = 'layer' if pool == 'avg' else 'none'
        values['model.trainable_blocks'] = None
        values['model.loss.label_smoothing'] = smoothing
        values['model.preprocessor.mixup'] = _mixing(unread, recipe, smoothing)
    for part in ('neck', 'head'):
        unread.take(f'model.{part}.type')
    for start in _starts(unread, recipe, 'model.head.init_cfg'):
        if type_of(start) == 'TruncNormal':
            values['model.head.init_std'] = start.get('std', 0.02)


def _pool(unread: Unread, job: RecipeJob) -> str:
    """The average of the patches, or the cls token: each version says it by another key."""
    unread.take('model.backbone.output_cls_token')
    unread.take('model.backbone.finetune')
    average = bool(unread.take('model.backbone.avg_token', False))
    average |= unread.take('model.backbone.out_type', None) == 'avg_featmap'
    average |= bool(unread.take('model.backbone.global_pool', False)) and job == 'ft'
    average |= type_of(unread.look('model.head')) == 'MAEFinetuneHead'
    return 'avg' if average else 'cls'


def _loss(unread: Unread, recipe: ImportedRecipe) -> float:
    """The share of label smoothing; a loss that is another is named."""
    loss = unread.take('model.head.loss', None) or {}
    kind = type_of(loss)
    smoothing = float(loss.get('label_smooth_val', 0.0))
    if kind not in ('', 'LabelSmoothLoss', *_PLAIN_LOSSES):
        recipe.leave_out('model.head.loss', loss, 'is another loss')
    if loss.get('criterion', 'L2') != 'L2':
        recipe.leave_out('model.head.loss.criterion', loss['criterion'], 'is the squared error')
    if loss.get('mode', 'original') != 'original':
        recipe.leave_out('model.head.loss.mode', loss['mode'], "is 'original'")
    return smoothing


def _mixing(unread: Unread, recipe: ImportedRecipe, smoothing: float) -> dict[str, Any] | None:
    """Mixup and cutmix, of which each batch gets one; their rates add up in the older versions."""
    augments = dicts_of(unread.take('model.train_cfg.augments', None))
    shares = unread.take('model.train_cfg.probs', None)
    alphas = {'Mixup': 0.0, 'CutMix': 0.0}
    probs = dict.fromkeys(alphas, 0.0)
    for number, augment in enumerate(augments):
        kind = type_of(augment).removeprefix('Batch')
        if kind not in alphas:
            recipe.leave_out(f'model.train_cfg.augments.{number}', augment)
            continue
        alphas[kind] = augment.get('alpha', 1.0)
        share = shares[number] if shares else 1 / len(augments)
        probs[kind] = augment.get('prob', share)
    total = sum(probs.values())
    if not total:
        return None
    return {
        'mixup_alpha': alphas['Mixup'],
        'cutmix_alpha': alphas['CutMix'],
        'switch_prob': probs['CutMix'] / total,
        'prob': min(1.0, total),
        'label_smoothing': smoothing,
    }


def _starts(unread: Unread, recipe: ImportedRecipe, key: str) -> list[dict[str, Any]]:
    """How weights begin; ours begin as the authors' do."""
    starts = dicts_of(unread.take(key, None))
    for start in starts:
        if type_of(start) not in _STARTS:
            recipe.leave_out(key, start, 'weights begin as those of the authors')
    return starts


def _data(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    values, place = recipe.values, 'train_dataloader.dataset'
    key = f'{place}.pipeline'
    pipeline = train_pipeline(dicts_of(unread.take(key, None)), recipe, key)
    values[key] = pipeline.steps
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


def _optimizer(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    values, theirs, ours = recipe.values, 'optim_wrapper.optimizer', 'optim_wrapper.optimizer'
    kind = type_of(unread.look(theirs))
    unread.take(f'{theirs}.type')
    values[f'{ours}.type'] = kind
    values[f'{ours}.weight_decay'] = unread.take(f'{theirs}.weight_decay', 0.0)
    if kind == 'LARS':
        values[f'{ours}.momentum'] = unread.take(f'{theirs}.momentum', 0.0)
    else:
        values[f'{ours}.betas'] = tuple(unread.take(f'{theirs}.betas', (0.9, 0.999)))
    if (eps := unread.take(f'{theirs}.eps', 1e-8)) != 1e-8:
        values[f'{ours}.eps'] = eps
    _precision(unread, recipe)
    if job != 'linear':
        _by_parameter(unread, recipe)


def _precision(unread: Unread, recipe: ImportedRecipe) -> None:
    """Mixed or not, and sharded or not."""
    wrapper, strategy = type_of(unread.look('optim_wrapper')), unread.take('strategy', None)
    is_mixed = wrapper in ('AmpOptimWrapper', 'DeepSpeedOptimWrapper')
    recipe.values['optim_wrapper.amp'] = 'bfloat16' if is_mixed else None
    scale = unread.take('optim_wrapper.loss_scale', 'dynamic')
    if is_mixed and unread.take('optim_wrapper.dtype', None) != 'bfloat16':
        why = "float16 there; bfloat16 here needs no scaler (optim_wrapper.amp='float16' has one)"
        recipe.leave_out('optim_wrapper.loss_scale', scale, why)
    unread.take('runner_type')
    if (kind := type_of(strategy)) == 'FSDPStrategy':
        recipe.values['parallel'] = {'type': 'fsdp'}
    elif kind:
        recipe.leave_out('strategy.type', kind, "parallel=dict(type='fsdp') shards a model here")


def _by_parameter(unread: Unread, recipe: ImportedRecipe) -> None:
    """Weight decay and learning rate that differ between parameters."""
    place = 'optim_wrapper.paramwise_cfg'
    stated = [unread.take(f'{place}.layer_decay_rate', None)]
    stated.append(unread.take('optim_wrapper.optimizer.layer_decay_rate', None))
    decay = next((value for value in stated if value is not None), None)
    recipe.values[f'{place}.layer_decay'] = decay
    recipe.values[f'{place}.decay_tokens'] = True
    for name in ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult'):
        if value := unread.take(f'{place}.{name}', 0.0):
            recipe.leave_out(f'{place}.{name}', value, 'parameters of one dimension do not decay')
    for name, options in (unread.take(f'{place}.custom_keys', None) or {}).items():
        part = name.lstrip('.')
        spared = options == {'decay_mult': 0.0}
        if spared and part in _TOKENS:
            recipe.values[f'{place}.decay_tokens'] = False
        elif not (spared and part in (*_NO_VECTORS, *_OF_SWIN)):
            recipe.leave_out(f'{place}.custom_keys.{name}', options)


def _schedule(unread: Unread, recipe: ImportedRecipe) -> None:
    values, warmup = recipe.values, 0
    for number, step in enumerate(dicts_of(unread.take('param_scheduler', None))):
        key, kind = f'param_scheduler.{number}', type_of(step)
        if kind not in ('LinearLR', 'CosineAnnealingLR') or not step.get('by_epoch', True):
            recipe.leave_out(key, step, 'is a warm-up in epochs and a cosine')
        elif kind == 'LinearLR':
            warmup = step.get('end', 0)
            start = step.get('start_factor', 1 / 3)
            if start > _SMALL_START:
                values['param_scheduler.start_factor'] = start
            else:
                recipe.leave_out(f'{key}.start_factor', start, 'the warm-up starts at 0')
        else:
            values['param_scheduler.min_lr'] = step.get('eta_min', 0.0)
            end = step.get('end', values.get('train_cfg.max_epochs'))
            if end != values.get('train_cfg.max_epochs'):
                recipe.leave_out(f'{key}.end', end, 'the cosine ends with the training')
    values['param_scheduler.warmup_epochs'] = warmup


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
