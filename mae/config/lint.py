"""Whether a recipe keeps what its name promises: `tools/analysis/lint_configs.py`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.fileio import load

from mae.config.grammar import Promise, parse_name
from mae.config.load import load_config
from mae.engine.optim import GroupedOptimConstructor
from mae.registry import MODELS, TRANSFORMS
from mae.utils.dotted_keys import node_at
from mae.utils.errors import ConfigError
from mae.utils.text import one_line

_TARGETS = {
    'target-pixel': 'PixelTarget',
    'target-hog': 'HOGTarget',
    'target-lowfreq': 'LowFrequencyTarget',
    'target-feature': 'FeatureTarget',
}

_CLASSES = {
    'in1k': 1000,
    'inat17': 5089,
    'inat18': 8142,
    'inat19': 1010,
    'places205': 205,
    'places365': 365,
}
# Of label maps, where 'other' is a class; and of objects.
_DENSE_CLASSES = {
    ('segment', 'in-s50'): 51,
    ('segment', 'in-s300'): 301,
    ('segment', 'in-s919'): 920,
    ('segment', 'ade20k'): 150,
    ('segment', 'digit-scenes'): 11,
    ('detect', 'coco'): 80,
    ('detect', 'digit-scenes'): 10,
}
_MODELS = {'classify': 'Classifier', 'segment': 'Segmenter', 'detect': 'Detector'}
_SCHEDULES = {'cos': 'WarmupCosineLR', 'poly': 'WarmupPolyLR', 'step': 'WarmupStepLR'}
# What source and metric have in a test, so that it scores as the authors of the set do.
_TESTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'in-c': ({'type': 'ImageNetC'}, {'type': 'CorruptionError', 'baseline': 'alexnet'}),
    'in-a': ({'classes': 'imagenet'}, {'type': 'SubsetAccuracy', 'subset': 'imagenet-a'}),
    'in-r': ({'classes': 'imagenet'}, {'type': 'SubsetAccuracy', 'subset': 'imagenet-r'}),
    'in-sketch': ({'classes': 'imagenet'}, {'type': 'Accuracy'}),
    'in-v2': ({'classes': 'imagenet-v2'}, {'type': 'Accuracy'}),
    'in-real': ({'file_numbers': True}, {'type': 'RealAccuracy'}),
}

_Finding = tuple[str, str]  # key and what is wrong with it


@dataclass(frozen=True)
class Violation:
    """A broken rule.

    Attributes:
        key: config key with dots, or the name of a check.
        message: what is wrong, and what would be right.
    """

    path: Path
    key: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.key}: {self.message}'


def lint(path: Path) -> list[Violation]:
    """All broken rules of a config or a metafile."""
    findings = _metafile(path) if path.suffix == '.yml' else _config(path)
    return [Violation(path, key, message) for key, message in findings]


def _config(path: Path) -> Iterator[_Finding]:
    try:
        config = load_config(path)
    except ConfigError as error:  # also a base that is not there
        yield 'load', str(error).removeprefix(f'{path}: ')
        return
    promise = parse_name(path.stem)
    if promise is None:
        yield (
            'name',
            'not {algorithm}_{arch}_{job}-{gpus}xb{batch}-{amp}-{schedule}-{length}_{data}, or its '
            'parts do not go together',
        )
    else:
        yield from _promise(config, promise)
    if 'train_dataloader' in config:
        yield from _learning_rate(config, absolute=promise is not None and promise.is_dense)
    yield from _build(config)


def _promise(config: Config, promise: Promise) -> Iterator[_Finding]:
    """The numbers in the name are those in the config."""
    loader = 'train_dataloader' if promise.is_trained else 'test_dataloader'
    encoder = 'model.encoder'
    expected: dict[str, Any] = {
        f'{loader}.batch_size': promise.batch,
        f'{encoder}.patch_size': promise.patch,
        f'{encoder}.img_size': promise.size,
        'model.type': _MODELS.get(promise.task, 'MAE'),
    }
    if promise.arch != 'mini':  # has no name of its own
        expected[f'{encoder}.arch'] = promise.arch
    if promise.is_trained:
        expected['global_batch_size'] = promise.gpus * promise.batch
        expected['train_cfg.max_epochs'] = promise.epochs
        expected['train_cfg.max_steps'] = promise.steps
        expected['param_scheduler.type'] = _SCHEDULES.get(promise.schedule or '')
        expected['optim_wrapper.amp'] = 'bfloat16' if promise.amp else None
    if promise.has_head:
        expected |= _classifier(promise)
    if promise.is_dense:
        expected |= _dense(promise, config)
    if depth := re.fullmatch(r'dec-depth(\d+)', promise.ablation or ''):
        expected['model.decoder.depth'] = int(depth[1])
    if share := re.fullmatch(r'dec-cross-predict(\d+)', promise.ablation or ''):
        expected['model.decoder.type'] = 'CrossDecoder'
        expected['model.masker.predict_ratio'] = int(share[1]) / 100
    if low := re.fullmatch(r'lowres-(\d+)-(\d+)e', promise.ablation or ''):
        size, epochs = int(low[1]), int(low[2])
        expected['custom_hooks'] = [
            {'type': 'LowResolutionHook', 'img_size': size, 'epochs': epochs}
        ]
    kind = '-'.join((promise.ablation or '').split('-')[:2])  # target-feature-dino
    if kind in _TARGETS:
        expected['model.target.type'] = _TARGETS[kind]
    if promise.percent != 100:
        expected['train_dataloader.dataset.source.fraction'] = promise.percent / 100
    for key, value in expected.items():
        found = node_at(config, key)
        if found != value:
            yield key, f'is {found!r}, but the name promises {value!r}'


def _classifier(promise: Promise) -> dict[str, Any]:
    """What a model with a head is to have, and how it is to be tested."""
    expected: dict[str, Any] = {
        'model.trainable_blocks': promise.trainable_blocks if promise.variant != 'grid' else 0,
        'model.head.type': f'Linear{"Grid" if promise.variant == "grid" else ""}Head',
    }
    if classes := _CLASSES.get('in1k' if promise.data in _TESTS else promise.data):
        expected['model.head.num_classes'] = classes
    source, metric = _TESTS.get(promise.data, ({}, {}))
    expected |= {f'test_dataloader.dataset.source.{key}': value for key, value in source.items()}
    return expected | {f'test_evaluator.{key}': value for key, value in metric.items()}


def _dense(promise: Promise, config: Config) -> dict[str, Any]:
    """What a model of maps or objects is to have, and how much of the labels it sees."""
    expected: dict[str, Any] = {
        'model.encoder.type': 'DenseViTEncoder',
        'model.trainable_blocks': promise.trainable_blocks,
    }
    heads = ['head'] if promise.task == 'segment' else ['roi']
    if promise.job == 'seg-linear':
        expected |= {'model.head.type': 'PixelLinearHead', 'model.neck': None}
    elif promise.job == 'upernet':
        expected |= {'model.head.type': 'UPerHead', 'model.neck.type': 'LevelsNeck'}
        heads += ['auxiliary'] if config.model.get('auxiliary') else []
    else:
        job = promise.job or ''
        if job.endswith('single-scale'):
            expected['model.neck'] = None
        else:
            vitdet = job.endswith('vitdet')
            expected['model.neck.type'] = 'SimplePyramid' if vitdet else 'FPNNeck'
        cascade = job.startswith('cascade')
        expected['model.roi.type'] = 'CascadeRoIHead' if cascade else 'RoIHead'
    if classes := _DENSE_CLASSES.get((promise.task, promise.data)):
        expected |= {f'model.{head}.num_classes': classes for head in heads}
    if promise.images is not None:
        expected['train_dataloader.dataset.source.num_scenes'] = promise.images
    return expected


def _learning_rate(config: Config, *, absolute: bool) -> Iterator[_Finding]:
    """lr = base_lr * global_batch_size / 256, and nothing else states it.

    Args:
        absolute: whether a rate of the optimizer may take the place of base_lr, as the recipes of
            dense tasks have it.
    """
    stated = (node_at(config, 'optim_wrapper.optimizer') or {}).get('lr')
    if absolute and stated is not None:
        if config.get('base_lr') is not None:
            yield 'base_lr', 'is stated beside optim_wrapper.optimizer.lr; keep one of them'
        if not config.get('global_batch_size'):
            yield 'global_batch_size', 'is missing: the name promises it'
        return
    for key in ('base_lr', 'global_batch_size'):
        if not config.get(key):
            yield key, 'is missing: lr = base_lr * global_batch_size / 256 needs it'
    if 'lr' in (node_at(config, 'optim_wrapper.optimizer') or {}):
        yield 'optim_wrapper.optimizer.lr', 'is stated, but follows from base_lr'


def _build(config: Config) -> Iterator[_Finding]:
    """Model and transforms can be built, and what speaks of parameters finds some."""
    for key, pipeline in _pipelines(dict(config.items())):
        for index, transform in enumerate(pipeline):
            try:
                TRANSFORMS.build(transform)
            except (ValueError, TypeError) as error:
                yield f'{key}.{index}', one_line(error)
    try:
        with torch.device('meta'):  # no memory, however large
            model = MODELS.build(config.model)
    except (ValueError, TypeError) as error:
        yield 'model', one_line(error)
        return
    if 'optim_wrapper' in config:
        yield from _parameters(config.optim_wrapper, model)


def _parameters(wrapper: Mapping[str, Any], model: Any) -> Iterator[_Finding]:
    """Each key that decays or scales something matches at least one parameter."""
    options, place = wrapper.get('paramwise_cfg') or {}, 'optim_wrapper.paramwise_cfg'
    names = [name for name, _ in model.named_parameters()]
    for key in options.get('custom_keys', {}):
        if not any(key in name for name in names):
            yield f'{place}.custom_keys.{key}', 'matches no parameter'
    for part in options.get('no_decay', ()):
        if not any(part in name for name in names):
            yield f'{place}.no_decay', f'{part} is part of no parameter'
    if options.get('decay_tokens') is False:
        for name in sorted(model.no_weight_decay() - set(names)):
            yield f'{place}.decay_tokens', f'{name}, which it exempts, is no parameter'
    if options.get('layer_decay') is not None:
        found = {model.get_layer_depth(name) for name in names}
        for layer in sorted(set(range(max(found)[1] + 1)) - {layer for layer, _ in found}):
            yield f'{place}.layer_decay', f'no parameter is of layer {layer}'
    if wrapper.get('constructor') == 'GroupedOptimConstructor':
        try:
            optimizer = {'lr': 1.0, **wrapper['optimizer']}
            GroupedOptimConstructor({**wrapper, 'optimizer': optimizer}, options).group(model)
        except ValueError as error:
            yield 'optim_wrapper', one_line(error)


def _metafile(path: Path) -> Iterator[_Finding]:
    """Results have their config; weights too, as long as they say, and their checksum."""
    meta = load(path)
    for result in meta.get('Published', ()):
        if not path.with_name(f'{result["Config"]}.py').is_file():
            yield (
                f'Published.{result["Config"]}.Config',
                'is not the name of a config beside this file',
            )
    for model in meta['Models']:
        name, facts = model['Name'], model['Metadata']
        config = path.parent / Path(model['Config']).name
        if Path(model['Config']).parent.name != path.parent.name or not config.is_file():
            yield f'{name}.Config', f'{model["Config"]} is not beside this file'
        elif 'Epochs' in facts:
            promise = parse_name(config.stem)
            if promise is None or promise.epochs != facts['Epochs']:
                yield (
                    f'{name}.Metadata.Epochs',
                    f'{facts["Epochs"]}, but the config is {config.stem}',
                )
        checksum = str(facts.get('Checksum', ''))
        suffix = re.search(r'-([0-9a-f]{8})\.(pth|safetensors)$', model['Weights'])
        if suffix and checksum != f'sha256:{suffix[1]}':
            yield (
                f'{name}.Metadata.Checksum',
                f'is {checksum or None}, but the file is named {suffix[1]}',
            )
        elif not suffix and 'download.openmmlab.com' in model['Weights']:
            yield f'{name}.Weights', 'does not end in the first 8 digits of its SHA-256'


def _pipelines(node: Any, place: str = '') -> Iterator[tuple[str, list[Any]]]:
    """Every `pipeline` at any depth, with its key."""
    if not isinstance(node, Mapping):
        return
    for key in node:
        here = f'{place}.{key}' if place else str(key)
        if key == 'pipeline':
            yield here, node[key]
        else:
            yield from _pipelines(node[key], here)
