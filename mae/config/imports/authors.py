"""Reads a command line of the authors' repository: `main_pretrain.py`, `main_finetune.py`, ..."""

import argparse
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NoReturn

from mae.config.imports.recipe import UNSTATED, Counterpart, ImportedRecipe, RecipeJob
from mae.config.imports.tables import FLAG_ROWS
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean

_ABOVE_0, _BELOW_1 = math.nextafter(0, 1), math.nextafter(1, 0)
_PROGRAMS: dict[str, RecipeJob] = {'pretrain': 'pretrain', 'finetune': 'ft', 'linprobe': 'linear'}
_PROGRAM = re.compile(rf'(main|submitit)_({"|".join(_PROGRAMS)})(\.py)?')
_SWITCHES = (
    *('--norm_pix_loss', '--global_pool', '--cls_token', '--eval', '--dist_eval', '--resplit'),
    *('--pin_mem', '--no_pin_mem', '--use_volta32', '--dist_on_itp'),
)
_MODELS = {
    'vit_base_patch16': ('base', 16),
    'vit_large_patch16': ('large', 16),
    'vit_huge_patch14': ('huge', 14),
}
_MODES = {'--mixup_mode': ('batch', 'pair', 'elem'), '--remode': ('const', 'rand', 'pixel')}
# Least and largest value of a flag, and both in words.
_RANGES: dict[str, tuple[float, float, str]] = {
    **dict.fromkeys(
        (
            *('--batch_size', '--accum_iter', '--epochs', '--input_size', '--nb_classes'),
            *('--recount', '--nodes', '--ngpus'),
        ),
        (1, math.inf, 'at least 1'),
    ),
    **dict.fromkeys(
        ('--warmup_epochs', '--weight_decay', '--min_lr', '--seed', '--mixup', '--cutmix'),
        (0, math.inf, 'at least 0'),
    ),
    **dict.fromkeys(('--blr', '--lr', '--clip_grad'), (_ABOVE_0, math.inf, 'above 0')),
    **dict.fromkeys(
        ('--mask_ratio', '--drop_path', '--smoothing'), (0, _BELOW_1, 'at least 0 and below 1')
    ),
    **dict.fromkeys(
        ('--reprob', '--mixup_prob', '--mixup_switch_prob', '--cutmix_minmax'),
        (0, 1, 'between 0 and 1'),
    ),
    '--layer_decay': (_ABOVE_0, 1, 'above 0 and at most 1'),
}
_PACK = {'type': 'PackInputs'}
_FLIP = {'type': 'RandomFlip', 'prob': 0.5}


def read_command(command: str, devices: int | None = None) -> ImportedRecipe:
    """Read a command line.

    Args:
        command: with or without what stands in front of the script: variables, `python -m
            torch.distributed.launch`, `torchrun`.
        devices: number of devices; None takes it from the launcher, or from `--nodes` and
            `--ngpus` of the submitit scripts.

    Raises:
        ConfigError: it calls no script of the authors, a flag has no value or one of another
            kind, or the model is unknown; one line.
    """
    try:
        words = shlex.split(command.replace('\\\n', ' '))
    except ValueError as error:
        raise ConfigError(f'the command cannot be read: {error}') from error
    found = [i for i, word in enumerate(words) if _PROGRAM.fullmatch(PurePath(word).name)]
    if not found:
        raise ConfigError(
            'the command calls none of main_pretrain.py, main_finetune.py, main_linprobe.py and '
            f'their submitit_*.py: {command.strip() or "it is empty"}'
        )
    program = PurePath(words[found[0]]).name
    match = _PROGRAM.fullmatch(program)
    assert match is not None
    job = _PROGRAMS[match[2]]
    recipe = ImportedRecipe(f'{program} of the authors', job)
    rows = FLAG_ROWS[job]
    args = _parse(rows, program, words[found[0] + 1 :], recipe)
    stated = {row.old: args.get(row.old, UNSTATED) for row in rows}
    if devices is None:
        is_submitted = match[1] == 'submitit'
        devices = _devices(recipe, words[: found[0]], stated if is_submitted else None)
    for row in rows:
        recipe.apply(row, stated[row.old])
    _finish(recipe, {row.old: row.default for row in rows} | args, devices)
    return recipe


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f'{self.prog}: {message}')


def _parse(
    rows: Sequence[Counterpart], program: str, words: Sequence[str], recipe: ImportedRecipe
) -> dict[str, Any]:
    """The flags that are stated, by their names; unknown ones are named in the recipe."""
    parser = _Parser(prog=program, add_help=False, allow_abbrev=False)
    for row in rows:
        if row.old in _SWITCHES:
            parser.add_argument(row.old, action='store_true', default=UNSTATED)
        else:
            kind = _kind(row)
            many = '+' if row.old == '--cutmix_minmax' else None
            parser.add_argument(row.old, type=kind, nargs=many, default=UNSTATED)
    args, unknown = parser.parse_known_args(words)
    for word in unknown:
        recipe.left_out.append(f'{word}: no flag of {program}')
    named = {f'--{name}': value for name, value in vars(args).items()}
    stated = {flag: value for flag, value in named.items() if value is not UNSTATED}
    for flag, value in stated.items():
        _check_flag(flag, value)
    return stated


def _check_flag(flag: str, value: Any) -> None:
    """Refuse what the script itself could not train with."""
    if flag in _MODES and value not in _MODES[flag]:
        raise ConfigError(f'{flag} {value}: it must be one of {", ".join(_MODES[flag])}')
    if flag == '--aa' and value and value.partition('-')[0] != 'rand':
        raise ConfigError(f"{flag} {value}: it must be one of timm's policies rand-..., or empty")
    if flag == '--cutmix_minmax' and (len(value) != 2 or value[0] > value[1]):
        told = ' '.join(f'{number:g}' for number in value)
        raise ConfigError(f'{flag} {told}: it must be two numbers, the smaller one first')
    if flag in _RANGES:
        least, most, words = _RANGES[flag]
        for number in value if isinstance(value, list) else [value]:
            if not least <= number <= most or math.isinf(number):
                raise ConfigError(f'{flag} {number}: it must be {words}')


def _kind(row: Counterpart) -> Any:
    """The type of a flag's value: that of its default."""
    if row.old in ('--lr', '--clip_grad', '--cutmix_minmax', '--color_jitter'):
        return float
    if row.old in ('--nodes', '--ngpus'):
        return int
    return str if row.default in (UNSTATED, None) else type(row.default)


def _devices(
    recipe: ImportedRecipe, launcher: Sequence[str], submitted: dict[str, Any] | None
) -> int:
    """From the words in front of the script, or the flags of submitit, whose defaults are 2 and 8.

    One of which nothing is said runs on one device.
    """
    if submitted is not None:
        nodes, each = submitted['--nodes'], submitted['--ngpus']
        return (2 if nodes is UNSTATED else nodes) * (8 if each is UNSTATED else each)
    total, is_stated = 1, False
    for number, word in enumerate(launcher):
        flag, _, value = word.lstrip('-').replace('-', '_').partition('=')
        if flag in ('nproc_per_node', 'nnodes'):
            value = value or launcher[number + 1] if number + 1 < len(launcher) else value
            if not value.isdecimal():
                raise ConfigError(f'{word}: not a number of devices; add --devices N')
            total, is_stated = total * int(value), True
    if not is_stated:
        recipe.left_out.append('no launcher in front of the script: 1 device; else add --devices N')
    return total


def _finish(recipe: ImportedRecipe, args: dict[str, Any], devices: int) -> None:
    """What several flags say together, and what the scripts do without a flag."""
    values, job = recipe.values, recipe.job
    name = str(args['--model'])
    arch, patch = _model(name.removeprefix('mae_').removesuffix('_dec512d8b'), job, name)
    values |= {'model.encoder.arch': arch, 'model.encoder.patch_size': patch}
    if (side := args.get('--input_size', patch)) % patch:
        raise ConfigError(f'--input_size {side}: it must be a multiple of the patches of {patch}')
    total = args['--batch_size'] * args['--accum_iter'] * devices
    lr = args.get('--lr', UNSTATED)
    recipe.set_rate(args['--blr'] * total / 256 if lr is UNSTATED else lr, total)
    values['optim_wrapper.optimizer.type'] = 'LARS' if job == 'linear' else 'AdamW'
    values['optim_wrapper.amp'] = 'bfloat16'
    recipe.left_out.append('float16 with a scaler: bfloat16 here, which needs none')
    crop = {'type': 'DecodeRandomResizedCrop', 'scale': (0.08, 1.0)}
    if job == 'pretrain':
        crop['scale'] = (0.2, 1.0)
        values |= {'model.type': 'MAE', 'model.masker.type': 'RandomMasker'}
        values |= {'model.decoder.type': 'TransformerDecoder', 'model.target.type': 'PixelTarget'}
        values['model.decoder.depth'], values['model.decoder.embed_dim'] = 8, 512
        values['optim_wrapper.optimizer.betas'] = (0.9, 0.95)
        values['optim_wrapper.paramwise_cfg.decay_tokens'] = True
        values['train_dataloader.dataset.pipeline'] = [crop, _FLIP, _PACK]
        return
    average = (job == 'ft' or '--global_pool' in args) and args.get('--cls_token') is not True
    values |= {'model.head.pool': 'avg' if average else 'cls', 'model.encoder.final_norm': False}
    if job == 'linear':
        values |= {'model.encoder.final_norm': not average, 'model.head.norm': 'batch'}
        crop['oversize'] = 'clamp'
        values['train_dataloader.dataset.pipeline'] = [crop, _FLIP, _PACK]
        return
    _finish_finetuning(recipe, args, crop)


def _model(short: str, job: RecipeJob, name: str) -> tuple[str, int]:
    prefix = 'mae_' if job == 'pretrain' else ''
    if short not in _MODELS or name.startswith('mae_') != bool(prefix):
        known = [f'{prefix}{model}' for model in _MODELS]
        raise ConfigError(f'--model {name}: no model of the authors{did_you_mean(name, known)}')
    return _MODELS[short]


def _finish_finetuning(recipe: ImportedRecipe, args: dict[str, Any], crop: dict[str, Any]) -> None:
    values = recipe.values
    values['optim_wrapper.optimizer.betas'] = (0.9, 0.999)
    values['optim_wrapper.paramwise_cfg.decay_tokens'] = False
    values['model.trainable_blocks'] = None
    if values['model.head.pool'] == 'cls':
        values |= {'model.head.norm': 'none', 'model.encoder.final_norm': True}
    augment = [{'type': 'RandAugment', 'policy': args['--aa']}] if args['--aa'] else []
    values['train_dataloader.dataset.pipeline'] = [crop, _FLIP, *augment, _PACK]
    side = args['--input_size']
    resize = {'type': 'ResizeShort'} | ({'crop_pct': 0.875} if side <= 224 else {})
    steps = [{'type': 'DecodeImage'}, resize, {'type': 'CenterCrop'}, _PACK]
    values['val_dataloader.dataset.pipeline'] = steps
    mixing = _taken(values, 'model.preprocessor.mixup')
    if mixing['mixup_alpha'] or mixing['cutmix_alpha'] or mixing.get('cutmix_minmax'):
        mixing['label_smoothing'] = args['--smoothing']
        if mixing['mode'] == 'batch':
            del mixing['mode']
        values['model.preprocessor.mixup'] = mixing
    else:
        values['model.preprocessor.mixup'] = None
    erase = _taken(values, 'model.preprocessor.erase')
    values['model.preprocessor.erase'] = erase if erase['prob'] else None
    if root := values.get('train_dataloader.dataset.source.root'):
        values['val_dataloader.dataset.source.root'] = root


def _taken(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The values below a key, as one dict, taken out."""
    keys = [key for key in values if key.startswith(f'{place}.')]
    return {key.removeprefix(f'{place}.'): values.pop(key) for key in keys}
