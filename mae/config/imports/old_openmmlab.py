"""Configs of mmselfsup 0.x in the form of its 1.x."""

from collections.abc import Mapping
from typing import Any

from mae.config.imports.recipe import UNSTATED, Unread

_Config = dict[str, Any]
_MOVED = {
    'optimizer_config.grad_clip': 'optim_wrapper.clip_grad',
    'optimizer_config.update_interval': 'optim_wrapper.accumulative_counts',
    'optimizer.layer_decay': 'optim_wrapper.optimizer.layer_decay_rate',
    'optimizer.constructor': 'optim_wrapper.constructor',
    'runner.max_epochs': 'train_cfg.max_epochs',
    'checkpoint_config.interval': 'default_hooks.checkpoint.interval',
    'checkpoint_config.max_keep_ckpts': 'default_hooks.checkpoint.max_keep_ckpts',
    'log_config.interval': 'default_hooks.logger.interval',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.imgs_per_gpu': 'train_dataloader.batch_size',
    'data.train.pipeline': 'train_dataloader.dataset.pipeline',
    'data.train.data_source.type': 'train_dataloader.dataset.type',
    'data.train.data_source.data_prefix': 'train_dataloader.dataset.data_prefix',
    'data.val.pipeline': 'val_dataloader.dataset.pipeline',
    'model.head.label_smooth_val': 'model.head.loss.label_smooth_val',
}
_NEEDLESS = (
    *('data', 'runner', 'fp16', 'checkpoint_config', 'log_config', 'evaluation'),
    *('lr_config', 'optimizer_config', 'dist_params', 'resume_from', 'prefetch'),
    *('cudnn_benchmark', 'opencv_num_threads', 'mp_start_method'),
)


def is_old(config: Mapping[str, Any]) -> bool:
    """Whether a config is of mmselfsup 0.x, by the names of its sections."""
    return 'data' in config and 'train_dataloader' not in config


def modernised(config: Mapping[str, Any]) -> _Config:
    """The same config with the sections of mmselfsup 1.x; what these lack stays as it is."""
    old, new = Unread(config), _Config()
    half = old.look('fp16') is not None
    _put(new, 'optim_wrapper.type', 'AmpOptimWrapper' if half else 'OptimWrapper')
    for theirs, later in _MOVED.items():
        if (value := old.take(theirs)) is not UNSTATED:
            _put(new, later, value)
    if options := old.take('optimizer.paramwise_options', None):
        custom = {key: _multipliers(value) for key, value in options.items()}
        _put(new, 'optim_wrapper.paramwise_cfg.custom_keys', custom)
    for name, value in old.take('optimizer', {}).items():
        _put(new, f'optim_wrapper.optimizer.{name}', value)
    _put(new, 'param_scheduler', _schedule(old, new))
    _put(new, 'load_from', old.take('load_from', None))
    for key, value in old.rest():
        if key.split('.')[0] not in _NEEDLESS:
            _put(new, key, value)
    return new


def _schedule(old: Unread, new: _Config) -> list[_Config]:
    """Warm-up and cosine as two schedulers."""
    warmup = old.look('lr_config.warmup_iters', 0)
    schedulers: list[_Config] = []
    if warmup:
        schedulers.append(
            {
                'type': 'LinearLR',
                'start_factor': old.look('lr_config.warmup_ratio', 0.1),
                'by_epoch': bool(old.look('lr_config.warmup_by_epoch', False)),
                'end': warmup,
            }
        )
    policy = old.look('lr_config.policy')
    is_cosine = policy in ('CosineAnnealing', 'StepFixCosineAnnealing')
    kind = 'CosineAnnealingLR' if is_cosine else str(policy)
    floor = old.look('lr_config.min_lr', 0.0)
    return [*schedulers, {'type': kind, 'begin': warmup, 'eta_min': floor, 'by_epoch': True}]


def _multipliers(options: Mapping[str, Any]) -> _Config:
    """`weight_decay=0` of a name is a multiplier in 1.x."""
    named = {'weight_decay': 'decay_mult', 'lr': 'lr_mult'}
    return {named.get(name, name): value for name, value in options.items()}


def _put(config: _Config, key: str, value: Any) -> None:
    *above, last = key.split('.')
    for word in above:
        config = config.setdefault(word, {})
    config[last] = value
