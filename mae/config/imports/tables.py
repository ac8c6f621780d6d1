"""The keys of mmselfsup and mmpretrain and the authors' flags, with what they are here.

The readers go by these rows, and the pages on coming from another home print them.
"""

from typing import Any

from mae.config.imports.recipe import Counterpart
from mae.utils.errors import ConfigError
from mae.utils.vit_sizes import ARCHS

_ARCHS = {'b': 'base', 'l': 'large', 'h': 'huge'} | {name: name for name in ARCHS}
_ARCHS |= {'deit-t': 'tiny', 'deit-s': 'small', 'deit-b': 'base', 'deit-tiny': 'tiny'}
_ARCHS |= {'deit-small': 'small', 'deit-base': 'base'}
# Their ViT-S is not DeiT's, which is ours.
_SMALL = {'embed_dims': 768, 'num_layers': 8, 'num_heads': 8, 'feedforward_channels': 2304}
_SIZES = {'embed_dims': 'embed_dim', 'num_layers': 'depth', 'num_heads': 'num_heads'}


def full_arch(value: Any) -> Any:
    """Their name or sizes of a ViT as ours; for the width of its MLP see `mlp_ratio_of_arch`.

    Raises:
        ConfigError: there is no such name, or a size is missing.
    """
    sizes = _sizes(value)
    if sizes is None and value in _ARCHS:
        return _ARCHS[value]
    if sizes is None or not set(_SIZES) <= set(sizes):
        raise ConfigError(
            f'model.backbone.arch={value!r} is not known; give one of '
            f'{", ".join(sorted({"s", *_ARCHS}))}, or a dict of {", ".join(_SIZES)}'
        )
    return {ours: sizes[theirs] for theirs, ours in _SIZES.items()}


def mlp_ratio_of_arch(value: Any) -> float:
    """Width of the MLP over that of the tokens, of their name or sizes of a ViT."""
    sizes = _sizes(value) or {}
    hidden = sizes.get('feedforward_channels')
    return hidden / sizes['embed_dims'] if hidden else 4.0


def _sizes(value: Any) -> dict[str, Any] | None:
    """Their sizes of a ViT that has no name here."""
    if isinstance(value, dict):
        return value
    return _SMALL if value in ('s', 'small') else None


def _number_or_none(value: Any) -> Any:
    return value or None


def _clip(value: Any) -> Any:
    return {'max_norm': value} if value else None


_FOLLOWS = 'follows from the encoder'
_AUTO = 'is found by itself'
_BACKBONE = (
    Counterpart(
        'model.backbone.arch', 'model.encoder.arch', 'base', full_arch, why='by its full name'
    ),
    Counterpart('model.backbone.img_size', 'model.encoder.img_size', 224),
    Counterpart('model.backbone.patch_size', 'model.encoder.patch_size', 16),
    Counterpart('model.backbone.drop_path_rate', 'model.encoder.drop_path_rate', 0.0),
    Counterpart('model.backbone.in_channels', why=_FOLLOWS),
    Counterpart('model.backbone.init_cfg.type', why='a start from weights is load_from'),
    Counterpart('model.backbone.init_cfg.prefix', why='the encoder is found by its keys'),
    Counterpart('model.backbone.init_cfg.checkpoint', 'load_from', as_new=_number_or_none),
)
MODEL_ROWS = {
    'pretrain': (
        *_BACKBONE,
        Counterpart('model.backbone.mask_ratio', 'model.masker.mask_ratio', 0.75),
        Counterpart('model.neck.decoder_embed_dim', 'model.decoder.embed_dim', 512),
        Counterpart('model.neck.decoder_depth', 'model.decoder.depth', 8),
        Counterpart('model.neck.decoder_num_heads', 'model.decoder.num_heads', 16),
        Counterpart('model.neck.mlp_ratio', 'model.decoder.mlp_ratio', 4.0),
        Counterpart('model.head.norm_pix', 'model.target.norm_pix', False),
        Counterpart('model.neck.embed_dim', why=_FOLLOWS),
        Counterpart('model.neck.patch_size', why=_FOLLOWS),
        Counterpart('model.neck.num_patches', why=_FOLLOWS),
        Counterpart('model.neck.in_chans', why=_FOLLOWS),
        Counterpart('model.head.patch_size', why=_FOLLOWS),
    ),
    'ft': (
        *_BACKBONE,
        Counterpart('model.head.num_classes', 'model.head.num_classes', 1000),
        Counterpart('model.head.in_channels', why=_FOLLOWS),
        Counterpart('model.head.embed_dim', why=_FOLLOWS),
        Counterpart('model.neck.input_features', why=_FOLLOWS),
    ),
}
MODEL_ROWS['linear'] = MODEL_ROWS['ft']
RUN_ROWS = (
    Counterpart('train_dataloader.batch_size', 'train_dataloader.batch_size'),
    Counterpart('train_cfg.max_epochs', 'train_cfg.max_epochs'),
    Counterpart('train_cfg.val_interval', 'train_cfg.val_interval'),
    Counterpart('optim_wrapper.clip_grad', 'optim_wrapper.clip_grad'),
    Counterpart('randomness.seed', 'randomness.seed', as_new=lambda seed: seed or 0),
    Counterpart('load_from', 'load_from'),
    Counterpart('default_hooks.checkpoint.interval', 'default_hooks.checkpoint.interval'),
    Counterpart('default_hooks.checkpoint.max_keep_ckpts', 'default_hooks.checkpoint.max_keep'),
    Counterpart('default_hooks.checkpoint.save_best', 'default_hooks.checkpoint.save_best'),
    Counterpart('default_hooks.logger.interval', 'default_hooks.logger.interval'),
    Counterpart('resume', why='`mae train CONFIG --resume` continues a run', is_reported=True),
)
# Sections and keys that a run here needs no words for, by what they begin with.
NEEDLESS = {
    'default_scope': 'is `mae`',
    'custom_imports': 'their modules; ours are known',
    'env_cfg': 'processes and backends are chosen by the runner',
    'launcher': 'an option of `mae train`',
    'log_level': 'is `INFO`',
    'log_processor': 'belongs to the runner',
    'persistent_workers': _AUTO,
    'randomness': 'all is derived from one seed, on any number of devices',
    'val_cfg': 'is that of the job',
    'test_cfg': 'is that of the job',
    'vis_backends': 'is `visualizer`',
    'visualizer': 'logs go to files; TensorBoard and W&B are `visualizer.vis_backends`',
    'workflow': 'belongs to the runner',
    'train_cfg.by_epoch': 'lengths are in epochs',
    'train_cfg.type': 'is `TrainLoop`',
    'default_hooks.checkpoint.type': 'is our own',
    'default_hooks.checkpoint.out_dir': 'is `work_dir`',
    'default_hooks.logger.type': 'is `LoggerHook`',
    'default_hooks.param_scheduler': 'is always there',
    'default_hooks.sampler_seed': 'the order follows from seed and epoch',
    'default_hooks.timer': 'is always there',
    'default_hooks.visualization': 'is off',
    'train_dataloader': 'workers, order and collating are found by themselves',
    'val_dataloader': 'each image is counted once, at any batch size',
    'test_dataloader': 'is that of validation',
    'val_evaluator': 'is top-1 and top-5',
    'test_evaluator': 'is that of validation',
    'data_preprocessor': 'mean and deviation are carried over; images are RGB here',
    'model.data_preprocessor': 'the same',
    'optim_wrapper.type': 'is `StepOptimWrapper`',
    'optim_wrapper.constructor': 'is `GroupedOptimConstructor`',
    'optim_wrapper.optimizer.model_type': 'the model numbers its layers itself',
}

_LAUNCH = 'launchers and SLURM: `tools/dist_train.sh`, `tools/slurm_train.sh`'
_COMMON = (
    Counterpart('--batch_size', 'train_dataloader.batch_size', 64),
    Counterpart(
        '--accum_iter', 'global_batch_size', 1, why='part of it: batch x devices x accumulation'
    ),
    Counterpart('--blr', 'base_lr', 1e-3),
    Counterpart('--lr', 'base_lr', why='divided by global batch / 256'),
    Counterpart('--weight_decay', 'optim_wrapper.optimizer.weight_decay', 0.05),
    Counterpart('--min_lr', 'param_scheduler.min_lr', 0.0),
    Counterpart('--epochs', 'train_cfg.max_epochs', 400),
    Counterpart('--warmup_epochs', 'param_scheduler.warmup_epochs', 40),
    Counterpart('--data_path', 'train_dataloader.dataset.source.root'),
    Counterpart('--output_dir', 'work_dir'),
    Counterpart('--seed', 'randomness.seed', 0),
    Counterpart('--resume', why='`mae train CONFIG --resume` continues a run', is_reported=True),
    Counterpart('--start_epoch', why='a checkpoint knows its step'),
    Counterpart('--log_dir', why='TensorBoard is `visualizer.vis_backends`'),
    Counterpart('--device', why=_AUTO),
    Counterpart('--num_workers', why=_AUTO),
    Counterpart('--pin_mem', why=_AUTO),
    Counterpart('--no_pin_mem', why=_AUTO),
    *(
        Counterpart(f'--{flag}', why=_LAUNCH)
        for flag in ('world_size', 'local_rank', 'dist_on_itp')
    ),
    *(Counterpart(f'--{flag}', why=_LAUNCH) for flag in ('dist_url', 'ngpus', 'nodes', 'timeout')),
    *(
        Counterpart(f'--{flag}', why=_LAUNCH)
        for flag in ('job_dir', 'partition', 'use_volta32', 'comment')
    ),
)
_CLASSIFIER = (
    Counterpart('--finetune', 'load_from', as_new=_number_or_none),
    Counterpart('--nb_classes', 'model.head.num_classes', 1000),
    Counterpart('--global_pool', 'model.head.pool', why='`avg`'),
    Counterpart('--cls_token', 'model.head.pool', why='`cls`'),
    Counterpart('--eval', why='`mae test CONFIG CHECKPOINT`', is_reported=True),
    Counterpart('--dist_eval', why='each image is counted once, on any number of devices'),
)


def _with(rows: tuple[Counterpart, ...], *changed: Counterpart) -> tuple[Counterpart, ...]:
    """`rows`, with those that replace one of the same flag, and those that are new."""
    new = {row.old: row for row in changed}
    kept = [new.pop(row.old, row) for row in rows]
    return (*new.values(), *kept)


FLAG_ROWS = {
    'pretrain': _with(
        _COMMON,
        Counterpart(
            '--model', 'model.encoder.arch', 'mae_vit_large_patch16', why='and `patch_size`'
        ),
        Counterpart('--input_size', 'model.encoder.img_size', 224),
        Counterpart('--mask_ratio', 'model.masker.mask_ratio', 0.75),
        Counterpart('--norm_pix_loss', 'model.target.norm_pix', False),
    ),
    'ft': _with(
        (*_CLASSIFIER, *_COMMON),
        Counterpart('--model', 'model.encoder.arch', 'vit_large_patch16', why='and `patch_size`'),
        Counterpart('--input_size', 'model.encoder.img_size', 224),
        Counterpart('--drop_path', 'model.encoder.drop_path_rate', 0.1),
        Counterpart('--clip_grad', 'optim_wrapper.clip_grad', None, _clip),
        Counterpart('--layer_decay', 'optim_wrapper.paramwise_cfg.layer_decay', 0.75),
        Counterpart(
            '--aa', 'train_dataloader.dataset.pipeline', 'rand-m9-mstd0.5-inc1', why='RandAugment'
        ),
        Counterpart('--color_jitter', why='only without `--aa`', is_reported=True),
        Counterpart('--smoothing', 'model.loss.label_smoothing', 0.1),
        Counterpart('--reprob', 'model.preprocessor.erase.prob', 0.25),
        Counterpart('--remode', 'model.preprocessor.erase.mode', 'pixel'),
        Counterpart('--recount', 'model.preprocessor.erase.max_count', 1),
        Counterpart(
            '--resplit', why='of augmentation splits, which there are none of', is_reported=True
        ),
        Counterpart('--mixup', 'model.preprocessor.mixup.mixup_alpha', 0.0),
        Counterpart('--cutmix', 'model.preprocessor.mixup.cutmix_alpha', 0.0),
        Counterpart('--cutmix_minmax', 'model.preprocessor.mixup.cutmix_minmax'),
        Counterpart('--mixup_prob', 'model.preprocessor.mixup.prob', 1.0),
        Counterpart('--mixup_switch_prob', 'model.preprocessor.mixup.switch_prob', 0.5),
        Counterpart('--mixup_mode', 'model.preprocessor.mixup.mode', 'batch'),
        Counterpart('--epochs', 'train_cfg.max_epochs', 50),
        Counterpart('--warmup_epochs', 'param_scheduler.warmup_epochs', 5),
        Counterpart('--min_lr', 'param_scheduler.min_lr', 1e-6),
    ),
    'linear': _with(
        (*_CLASSIFIER, *_COMMON),
        Counterpart('--model', 'model.encoder.arch', 'vit_large_patch16', why='and `patch_size`'),
        Counterpart('--batch_size', 'train_dataloader.batch_size', 512),
        Counterpart('--epochs', 'train_cfg.max_epochs', 90),
        Counterpart('--blr', 'base_lr', 0.1),
        Counterpart('--weight_decay', 'optim_wrapper.optimizer.weight_decay', 0.0),
        Counterpart('--warmup_epochs', 'param_scheduler.warmup_epochs', 10),
    ),
}
