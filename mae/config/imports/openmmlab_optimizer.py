"""Optimizer and schedule of mmselfsup and mmpretrain."""

from mae.config.imports.recipe import ImportedRecipe, RecipeJob, Unread, dicts_of, type_of
from mae.utils.errors import ConfigError

_KINDS = ('AdamW', 'LARS')
_TOKENS = ('pos_embed', 'cls_token', 'mask_token')
_NO_VECTORS = ('ln', 'norm', 'bias')
# Parameters that a ViT does not have, in the schedules that their configs inherit.
_OF_SWIN = ('absolute_pos_embed', 'relative_position_bias_table')
_SMALL_START = 1e-3


def read_optimizer(unread: Unread, recipe: ImportedRecipe, job: RecipeJob) -> None:
    """Read the optimizer without its rate, which the batch belongs to.

    Raises:
        ConfigError: it is one that no recipe of MAE has.
    """
    values, place = recipe.values, 'optim_wrapper.optimizer'  # the same in theirs and ours
    kind = type_of(unread.look(place))
    if kind and kind not in _KINDS:
        raise ConfigError(
            f'{recipe.origin}: {place}.type={kind!r} is not imported; {" and ".join(_KINDS)} are'
        )
    unread.take(f'{place}.type')
    values[f'{place}.type'] = kind
    values[f'{place}.weight_decay'] = unread.take(f'{place}.weight_decay', 0.0)
    if kind == 'LARS':
        values[f'{place}.momentum'] = unread.take(f'{place}.momentum', 0.0)
    else:
        values[f'{place}.betas'] = tuple(unread.take(f'{place}.betas', (0.9, 0.999)))
    if (eps := unread.take(f'{place}.eps', 1e-8)) != 1e-8:
        values[f'{place}.eps'] = eps
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


def read_schedule(unread: Unread, recipe: ImportedRecipe) -> None:
    """Read warm-up and cosine; another schedule is named as not carried over."""
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
