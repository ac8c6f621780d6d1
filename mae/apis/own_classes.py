"""Fine-tuning on class folders: look at them and the weights, write a config, train from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

from mae.apis.finetune_rules import (
    HELD_OUT,
    WARMUP_EPOCHS,
    FinetuningRecipe,
    PretrainedSize,
    finetuning_recipe,
    require_classes,
)
from mae.apis.own_data import (
    Choices,
    decoding_of,
    machine_at_hand,
    places_for,
    say,
    say_config,
    say_survey,
    train_written,
    write_recipe,
)
from mae.apis.recipe_rules import (
    Chosen,
    Given,
    Images,
    Machine,
    choose_interval,
    choose_warmup,
    estimate,
)
from mae.datasets.sources.walk import class_folders
from mae.datasets.survey import Survey, split_of, survey
from mae.engine import Runner
from mae.fault_tolerance.checkpoint import list_checkpoints
from mae.utils.errors import CheckpointError, DataError
from mae.utils.text import counted
from mae.utils.vit_sizes import ARCHS, arch_name
from mae.zoo.fetch import find_file
from mae.zoo.formats import load_weights
from mae.zoo.formats.architecture import Architecture, architecture_of

FINETUNE_BASE = 'vit-base-p16_ft-8xb128-amp-coslr-100e_any'
# In grey levels, as the recipe has them.
_IMAGENET = {'mean': (123.675, 116.28, 103.53), 'std': (58.395, 57.12, 57.375)}
_CROPPED = 224  # side of images of which evaluation cuts the centre out: see `ReadImage`
_DARKER = 4  # times as small deviations as those of the weights are not seen by them
_VAL = ('val', 'valid', 'validation', 'test')


def finetune(
    data: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    *,
    img_size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    resume: bool = False,
) -> Runner:
    """Fine-tune pre-trained weights on class folders, with a config that is written for them.

    The rules are in `mae.apis.finetune_rules` (docs: own_data). The config is a file in `out` that
    says why each value was chosen.

    Args:
        data: folder with a folder of images for each class, of which a fifth is held out to
            validate; or with `train` and `val`, which have such folders.
        checkpoint: weights: a path, in any known format, a name of `list_models` or an address.
        out: work dir, by default `work_dirs/<name of the folder>-ft`.
        img_size: side in pixels; None of this and the following leaves the value to the rules.
        epochs: length of the run.
        batch_size: images of a step.
        resume: continue the run in `out`, from its newest checkpoint.

    Returns:
        The runner, when the last epoch is done.

    Raises:
        DataError: there is nothing to learn from; says why, and what would help.
        CheckpointError: the weights cannot be read, or take other images.
        ConfigError: an option is not possible, or `out` has another config of this kind.
        ValueError: as `mae.apis.train`.
    """
    given = Given(img_size=img_size, epochs=epochs, batch_size=batch_size)
    return train_written(write_finetuning(data, checkpoint, out, given), resume=resume)


def write_finetuning(
    data: str | Path, checkpoint: str | Path, out: str | Path | None, given: Given
) -> Path:
    """Look at class folders and weights, and write the config, saying what is found.

    Returns:
        The config.

    Raises:
        DataError: as `finetune`.
        CheckpointError: as `finetune`.
        ConfigError: as `finetune`.
    """
    root, out = places_for(data, out, '-ft')
    split = split_of(str(root))
    val = split and next((name for name in _VAL if name in class_folders(str(root))), '')
    for each in (split, val or split):
        _require_labels(root / each)
    found = survey(str(root), split=split, labelled=True)
    say_survey(found)
    require_classes(found.folder, found.classes, holds_out=not val)
    if val:
        _require_known(root / val, found)
    counts = found.classes.values()
    classes = counted(len(counts), 'class', 'classes')
    say(f'{classes} of {min(counts):,} to {max(counts):,} images')
    loaded = _Loaded.read(checkpoint)
    share = 1.0 if val else 1 - HELD_OUT
    number = int(found.num_readable * share)
    images = Images(number, found.short_side, found.megapixels)
    machine = machine_at_hand()
    recipe = finetuning_recipe(images, loaded.weights, machine, given)
    choices = _choices(found, val, loaded, recipe, machine)
    about = f'{loaded.path.name} fine-tuned on {classes} of {found.folder}.'
    path = write_recipe(out, 'finetune', FINETUNE_BASE, about, _with_val(found, val), choices)
    say(
        f'{loaded.architecture}: {recipe.img_size.value} x {recipe.img_size.value} pixels, '
        f'{counted(recipe.batch_size.value, "image")} a step, '
        f'{counted(recipe.epochs.value, "epoch")}'
    )
    say(estimate(recipe.minutes))
    say_config(path)
    return path


def _require_labels(folder: Path) -> None:
    if not class_folders(str(folder)):
        raise DataError(
            f'{folder}: no class folders: put the images of each class into a folder of its own, '
            f'such as {folder}/cat; without labels there is `mae pretrain`'
        )


def _require_known(folder: Path, found: Survey) -> None:
    if unknown := sorted(set(class_folders(str(folder))) - set(found.classes)):
        raise DataError(
            f'{folder}: no such class in {found.folder}: {unknown[0]}: the classes to validate are '
            'those to train on: rename the folder, or remove it'
        )


@dataclass(frozen=True)
class _Loaded:
    """What a file of weights says about its model."""

    path: Path
    architecture: Architecture
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, checkpoint: str | Path) -> '_Loaded':
        path = find_file(checkpoint).path.absolute()
        if path.is_dir() and (saved := list_checkpoints(path, 1)):
            raise CheckpointError(
                f'{checkpoint} is the folder of a run: give its newest checkpoint, {saved[0].path}'
            )
        found = load_weights(path)
        return cls(path, architecture_of(found['state_dict'], path), found['facts'])

    @property
    def channels(self) -> int:
        return self.architecture.in_channels

    @property
    def weights(self) -> PretrainedSize:
        """What the rules ask.

        Raises:
            CheckpointError: its images are not square.
        """
        count, patch = self.architecture.num_patches, self.architecture.patch_size
        rows, columns = self.facts.get('grid_size') or (isqrt(count), isqrt(count))
        if rows != columns or rows * columns != count:
            raise CheckpointError(
                f'{self.path}: trained on a grid of {rows} x {columns} patches: fine-tuning it '
                'takes a config of your own (`mae config new`)'
            )
        nearest = min(ARCHS, key=lambda name: abs(ARCHS[name]['embed_dim'] - self._width))
        return PretrainedSize(nearest, rows * patch, patch)

    @property
    def _width(self) -> int:
        return self.architecture.encoder.dim

    def encoder(self) -> dict[str, Any]:
        """Keys of `model.encoder` that differ from those of the recipe.

        Raises:
            CheckpointError: nothing says how many heads the blocks have.
        """
        stack, patch = self.architecture.encoder, self.architecture.patch_size
        heads = self.facts.get('num_heads') or self.architecture.usual_heads
        if heads is None:
            raise CheckpointError(
                f'{self.path} does not say how many heads its blocks of width {stack.dim} have: '
                'fine-tuning it takes a config of your own (`mae config new`)'
            )
        name = arch_name(stack.dim, stack.depth)
        if name is None or ARCHS[name]['num_heads'] != heads:
            arch: Any = {'embed_dim': stack.dim, 'depth': stack.depth, 'num_heads': heads}
        else:
            arch = name
        keys = {
            'arch': (arch, 'base'),
            'patch_size': (patch, 16),
            'in_channels': (self.channels, 3),
            'mlp_ratio': (stack.mlp_ratio, 4.0),
            'with_cls_token': (bool(self.architecture.num_prefix_tokens), True),
        }
        return {key: value for key, (value, usual) in keys.items() if value != usual}


def _choices(
    found: Survey, val: str, loaded: _Loaded, recipe: FinetuningRecipe, machine: Machine
) -> Choices:
    epochs = recipe.epochs.value
    choices: Choices = {
        'load_from': Chosen(str(loaded.path), ''),
        'global_batch_size': recipe.batch_size,
        'base_lr': recipe.base_lr,
        'model.encoder.img_size': recipe.img_size,
        **{
            f'model.encoder.{key}': Chosen(value, 'of the weights' if key == 'arch' else '')
            for key, value in loaded.encoder().items()
        },
        'model.head.num_classes': Chosen(len(found.classes), 'class folders'),
    }
    if not recipe.mixes.value:
        choices['model.preprocessor.mixup'] = Chosen(None, recipe.mixes.why)
    choices |= _inputs(found, val, loaded, recipe)
    choices |= {
        'param_scheduler.warmup_epochs': choose_warmup(epochs, WARMUP_EPOCHS),
        'train_cfg.max_epochs': recipe.epochs,
        'train_cfg.val_interval': choose_interval(epochs),
        'default_hooks.checkpoint.interval': choose_interval(epochs),
    }
    if machine.amp != 'bfloat16':
        choices['optim_wrapper.amp'] = Chosen(machine.amp, 'this device computes no bfloat16')
    return choices


def _inputs(found: Survey, val: str, loaded: _Loaded, recipe: FinetuningRecipe) -> Choices:
    """Sources, channels and preprocessor.

    Raises:
        DataError: the images have channels that the weights cannot take.
    """
    choices: Choices = {}
    if found.channels != loaded.channels and not {found.channels, loaded.channels} <= {1, 3}:
        raise DataError(
            f'{found.folder}: images of {counted(found.channels, "channel")}, but the weights take '
            f'{loaded.channels}: give images with as many, or weights of `mae pretrain` on these'
        )
    choices |= _statistics(found, loaded)
    pipelines = _pipelines(found, loaded, recipe.img_size.value)
    for kind, source in zip(('train', 'val'), _sources(found, val), strict=True):
        place = f'{kind}_dataloader'
        batch = recipe.per_device if kind == 'train' else 2 * recipe.per_device
        choices[f'{place}.batch_size'] = Chosen(batch, '')
        choices[f'{place}.dataset.source'] = source
        if kind in pipelines:
            choices[f'{place}.dataset.pipeline'] = pipelines[kind]
    return choices


def _pipelines(found: Survey, loaded: _Loaded, img_size: int) -> Choices:
    """Of training and validation, where those of the base do not fit."""
    decode = decoding_of(loaded.channels, found.bits)
    is_usual = loaded.channels == 3 and found.bits == 8
    pack = {'type': 'PackInputs'}
    pipelines: Choices = {}
    if not is_usual:
        crop = {'type': 'DecodeRandomResizedCrop', 'scale': (0.08, 1.0), 'decode': decode}
        is_augmented = loaded.channels == 1 and found.bits == 8  # the only ones it takes of these
        augment = [{'type': 'RandAugment'}] if is_augmented else []
        flip = {'type': 'RandomFlip', 'prob': 0.5}
        pipelines['train'] = Chosen([crop, flip, *augment, pack], '')
    if not is_usual or img_size != _CROPPED:
        share = {'crop_pct': 0.875} if img_size == _CROPPED else {}
        resize = {'type': 'ResizeShort', **share}
        why = '' if share else 'the whole short side, as predictions see it'
        pipelines['val'] = Chosen([decode, resize, {'type': 'CenterCrop'}, pack], why)
    return pipelines


def _statistics(found: Survey, loaded: _Loaded) -> Choices:
    """What the preprocessor subtracts and divides by: the weights' own where they say it.

    Images of 16 bits that use a small part of these have their own: by the weights' they would all
    be black.
    """
    choices: Choices = {}
    theirs = loaded.facts.get('std') or _IMAGENET['std']
    is_dark = found.bits == 16 and max(found.std) < min(theirs) / _DARKER
    for name, usual in _IMAGENET.items():
        is_known = bool(loaded.facts.get(name)) and not is_dark
        of_images = usual if loaded.channels == 3 and not is_dark else getattr(found, name)
        values = tuple(loaded.facts[name] if is_known else of_images)
        if len(values) != 3 or max(abs(a - b) for a, b in zip(values, usual, strict=True)) > 0.01:
            why = 'of the weights' if is_known else 'of the images looked at'
            choices[f'model.preprocessor.{name}'] = Chosen(list(values), why)
    return choices


def _sources(found: Survey, val: str) -> tuple[Chosen, Chosen]:
    """Of training and validation."""
    if val:
        return Chosen(found.source, ''), Chosen({**found.source, 'split': val}, '')
    folder = {'type': 'ImageFolder', **found.source}
    share = 1 - HELD_OUT
    part = {'_delete_': True, 'type': 'Subset', 'source': folder, 'fraction': share}
    why = f'{HELD_OUT:.0%} of each class are held out to validate'
    return Chosen(part, why), Chosen({**part, 'others': True}, '')


def _with_val(found: Survey, val: str) -> Survey:
    """With the unreadable images of the validation split, which training would stop at."""
    if not val:
        return found
    others = survey(found.root, split=val).unreadable
    return replace(found, unreadable=(*found.unreadable, *others))
