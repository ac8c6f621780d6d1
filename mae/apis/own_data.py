"""Pre-training on a folder of images: look at it, choose values, write a config, train from it."""

import os
import shlex
from pathlib import Path
from typing import Any

import torch

from mae.apis.pretrain_rules import (
    DECODERS,
    WARMUP_EPOCHS,
    PretrainingRecipe,
    described,
    pretraining_recipe,
)
from mae.apis.recipe_rules import (
    Chosen,
    Given,
    Images,
    Machine,
    choose_interval,
    choose_warmup,
)
from mae.apis.runs import train
from mae.config import load_config
from mae.config.write import Variable, config_text, write_config
from mae.datasets import write_quarantine
from mae.datasets.sources.walk import class_folders
from mae.datasets.survey import Survey, split_of, survey
from mae.engine import Runner
from mae.utils.errors import ConfigError, DataError
from mae.utils.files import lowest_existing
from mae.utils.hardware import cores_at_hand
from mae.utils.precision import cpu_computes_bfloat16
from mae.utils.text import counted, is_utf8, printable

PRETRAIN_BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
_AMPERE = (8, 0)  # the first compute capability with bfloat16
Choices = dict[str, Chosen]  # by dotted key of a config


def pretrain(
    data: str | Path,
    out: str | Path | None = None,
    *,
    arch: str | None = None,
    img_size: int | None = None,
    patch_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    resume: bool = False,
) -> Runner:
    """Pre-train on a folder of images, with a config that is written for them.

    The rules are in `mae.apis.pretrain_rules` (docs: own_data). The config is a file in `out` that
    says why each value was chosen; `mae train` takes it, changed too.

    Args:
        data: folder, searched in depth; where it has `train` beside another split, that alone.
        out: work dir, by default `work_dirs/<name of the folder>`.
        arch: 'tiny', 'small', 'base', 'large' or 'huge'; None of this and the following leaves the
            value to the rules.
        img_size: side in pixels.
        patch_size: side in pixels.
        epochs: length of the run.
        batch_size: images of a step.
        resume: continue the run in `out`, from its newest checkpoint.

    Returns:
        The runner, when the last epoch is done.

    Raises:
        DataError: the images cannot be learned from; says why, and what would help.
        ConfigError: an option is not possible, or `out` has another config of this kind.
        ValueError: as `mae.apis.train`.
    """
    given = Given(arch, img_size, patch_size, epochs, batch_size)
    return train_written(write_pretraining(data, out, given), resume=resume)


def write_pretraining(data: str | Path, out: str | Path | None, given: Given) -> Path:
    """Look at a folder of images and write the config of its pre-training, saying what is found.

    Returns:
        The config.

    Raises:
        DataError: as `pretrain`.
        ConfigError: as `pretrain`.
    """
    root, out = places_for(data, out)
    found = survey(str(root), split=split_of(str(root)))
    machine = machine_at_hand()
    images = Images(found.num_readable, found.short_side, found.megapixels)
    say_survey(found)
    if len(names := class_folders(found.folder)) > 1:
        say(f'{len(names)} folders in it, such as {names[0]}: labels are for `mae finetune`')
    recipe = pretraining_recipe(images, machine, given)
    choices = _pretraining_choices(found, recipe, machine)
    lines = [*described(recipe)]
    about = f'{lines[0].partition(",")[0]} pre-trained on {found.folder}.'
    path = write_recipe(out, 'pretrain', PRETRAIN_BASE, about, found, choices)
    for line in lines:
        say(line)
    say_config(path)
    return path


def train_written(config: Path, *, resume: bool) -> Runner:
    """Train from a config that was written, or continue its run.

    Raises:
        ValueError: as `mae.apis.train`.
    """
    # A fine-tuning names its pre-trained weights, which are not what it continues from.
    return train(load_config(config, {'resume': True, 'load_from': None} if resume else {}))


def machine_at_hand() -> Machine:
    """The device that a run would train on."""
    cores = cores_at_hand()
    if not torch.cuda.is_available():
        return Machine(False, cores, 'bfloat16' if cpu_computes_bfloat16() else None)
    has_bf16 = torch.cuda.get_device_capability() >= _AMPERE
    return Machine(True, cores, 'bfloat16' if has_bf16 else 'float16')


def places_for(data: str | Path, out: str | Path | None, suffix: str = '') -> tuple[Path, Path]:
    """Folder of the images and work dir, absolute.

    Raises:
        DataError: there is no such folder, or no config can name it.
        ConfigError: the work dir cannot be written, or lies among the images.
    """
    root = Path(os.path.abspath(Path(data).expanduser()))
    if not root.is_dir():
        what = 'is a file' if root.exists() else 'does not exist'
        raise DataError(f'{data} {what}: give a folder of images')
    if not is_utf8(str(root)):
        raise DataError(f'{printable(str(root))}: the name is not UTF-8: rename the folder')
    out = Path(out if out is not None else Path('work_dirs', root.resolve().name + suffix))
    out = Path(os.path.abspath(out.expanduser()))
    if why := _why_not(out, root):
        raise ConfigError(f'{printable(str(out))} {why}; give another work dir')
    return root, out


def _why_not(out: Path, root: Path) -> str:
    """Why a place cannot be the work dir of a folder of images; '' if it can."""
    there = lowest_existing(out)
    below = '' if there == out else f'would lie in {there}, which '
    if not there.is_dir():
        return f'{below}is no folder'
    if not os.access(there, os.W_OK | os.X_OK):
        return f'{below}may not be written'
    if not is_utf8(str(out)):
        return 'is no name in UTF-8'
    if out.resolve().is_relative_to(root.resolve()):
        return 'lies among the images, and would be taken for some of them'
    return ''


def _pretraining_choices(found: Survey, recipe: PretrainingRecipe, machine: Machine) -> Choices:
    arch, epochs = recipe.arch.value, recipe.epochs.value
    choices: Choices = {
        'global_batch_size': recipe.batch_size,
        'base_lr': recipe.base_lr,
        'model.encoder.arch': recipe.arch,
        'model.encoder.img_size': recipe.img_size,
        'model.encoder.patch_size': recipe.patch_size,
    }
    if arch in DECODERS:
        sizes = dict(zip(('embed_dim', 'depth', 'num_heads'), DECODERS[arch], strict=True))
        choices['model.decoder'] = Chosen(sizes, 'in proportion to the encoder')
    choices |= _input_choices(found)
    choices |= {
        'train_dataloader.batch_size': Chosen(recipe.per_device, 'at once on a device'),
        'train_dataloader.dataset.source': Chosen({**found.source, 'labelled': False}, ''),
        'param_scheduler.warmup_epochs': choose_warmup(epochs, WARMUP_EPOCHS),
        'train_cfg.max_epochs': recipe.epochs,
        'default_hooks.checkpoint.interval': choose_interval(epochs),
    }
    if machine.amp != 'bfloat16':
        why = 'this device computes no bfloat16'
        choices['optim_wrapper.amp'] = Chosen(machine.amp, why)
    return choices


def _input_choices(found: Survey) -> Choices:
    """Channels, bits, and what the preprocessor subtracts and divides by.

    Colours of 8 bits inherit all of it.
    """
    if found.channels == 3 and found.bits == 8:
        return {}
    decode = decoding_of(found.channels, found.bits)
    crop = {'type': 'DecodeRandomResizedCrop', 'scale': (0.2, 1.0), 'decode': decode}
    flip = {'type': 'RandomFlip', 'prob': 0.5}
    kind = 'all images are grey' if found.channels == 1 else 'as the arrays have'
    channels = {'model.encoder.in_channels': Chosen(found.channels, kind)}
    return (channels if found.channels != 3 else {}) | {
        'model.preprocessor.mean': Chosen(list(found.mean), 'of the images looked at'),
        'model.preprocessor.std': Chosen(list(found.std), ''),
        'train_dataloader.dataset.pipeline': Chosen([crop, flip, {'type': 'PackInputs'}], ''),
    }


def decoding_of(channels: int, bits: int) -> dict[str, Any]:
    """Config of the `DecodeImage` for such images."""
    deep = {'bits': bits} if bits == 16 else {}
    return {'type': 'DecodeImage', 'channels': channels, **deep}


def write_recipe(
    out: Path, kind: str, base: str, about: str, found: Survey, choices: Choices
) -> Path:
    """Write a config with the reasons of its values, and the list of images to leave out.

    Args:
        out: work dir.
        kind: command, and name of the file.
        base: config that it inherits.
        about: first line of its docstring.
        found: in the data.
        choices: values that differ from the base.

    Raises:
        ConfigError: there is another config of this kind, which may have been edited.
    """
    path, quarantine = out / 'config' / f'{kind}.py', out / 'config' / 'unreadable.jsonl'
    choices = {**choices, 'work_dir': Chosen(str(out), '')}
    loaders = [key for key in ('train_dataloader', 'val_dataloader') if _has(choices, key)]
    if found.unreadable:
        why = f'{len(found.unreadable)} that cannot be read'
        for key in loaders:
            choices[f'{key}.dataset.quarantine'] = Chosen(str(quarantine), why)
    values = {key: choice.value for key, choice in choices.items()}
    if 'val_dataloader' in loaders:
        values['test_dataloader'] = Variable('val_dataloader')
    reasons = {key: choice.why for key, choice in choices.items() if choice.why}
    looked = '\n'.join([f'{counted(found.num_images, "image")}.', *found.describe()])
    about = (
        f'{printable(about)}\n\n{looked}\n'
        f'Written by `mae {kind}`; change it, and `mae train` takes it.\n'
    )
    text = config_text(about, base, values, reasons)
    if path.exists() and path.read_text(encoding='utf-8') != text:
        raise ConfigError(
            f'{path} exists already, with other values: train from it with `mae train`, give '
            'another work dir, or remove it'
        )
    if found.unreadable:
        write_quarantine(quarantine, found.unreadable)
    write_config(path, about, base, values, reasons)
    return path


def _has(choices: Choices, loader: str) -> bool:
    return any(key.startswith(f'{loader}.') for key in choices)


def say_survey(found: Survey) -> None:
    """Print what was found, and what to look at."""
    say(f'{found.folder}: {counted(found.num_images, "image")}')
    for line in found.describe():
        say(line)
    for line in found.warnings():
        say(f'warning: {line}')


def say_config(path: Path) -> None:
    """Print where the config is, and what takes it."""
    say(f'config: {path}; to change it and train again: mae train {shlex.quote(str(path))}')


def say(line: str) -> None:
    """Print a line at once, as training that follows takes long."""
    print(printable(line), flush=True)
