"""The rules by which `mae finetune` chooses its values; beside those of `recipe_rules`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mae.apis.recipe_rules import (
    FEWEST_IMAGES,
    PER_DEVICE,
    Chosen,
    Given,
    Images,
    Machine,
    choose_batch_size,
    choose_epochs,
    choose_lr,
    core_seconds,
    require_patches,
)
from mae.utils.errors import DataError

# The paper's rate of fine-tuning (table 9) and the batch it belongs to.
PAPER_LR, PAPER_BATCH = 4e-3, 1024
WARMUP_EPOCHS = 5
GPU_STEPS = 10_000
EPOCHS = {'cpu': (5, 200), 'gpu': (50, 200)}
# Mixed images are for long runs: the paper's have 50 epochs or more.
MIXED_FROM = 50
# All patches go through the encoder and none through a decoder: operations over those of
# pre-training.
WHOLE_IMAGE = 1.8
HELD_OUT = 0.2
FEWEST_IN_CLASS = 2


@dataclass(frozen=True)
class PretrainedSize:
    """What the rules ask of the weights.

    Attributes:
        arch: name of the encoder's size that comes nearest.
        img_size: side in pixels that they were trained with.
        patch_size: side in pixels.
    """

    arch: str
    img_size: int
    patch_size: int


@dataclass(frozen=True)
class FinetuningRecipe:
    """The values of a fine-tuning.

    Attributes:
        img_size: side in pixels.
        batch_size: images of a step.
        per_device: images that a device computes at once.
        base_lr: learning rate of a batch of 256.
        epochs: length of the run.
        mixes: whether images are mixed.
        minutes: estimated, on a CPU; None on a GPU, which is not measured yet.
    """

    img_size: Chosen
    batch_size: Chosen
    per_device: int
    base_lr: Chosen
    epochs: Chosen
    mixes: Chosen
    minutes: float | None


def finetuning_recipe(
    images: Images, weights: PretrainedSize, machine: Machine, given: Given
) -> FinetuningRecipe:
    """Choose the values of a fine-tuning on `images`, those to train on.

    Raises:
        DataError: there are too few.
        ConfigError: what the user has given is not possible; names it.
    """
    if images.number < FEWEST_IMAGES:
        raise DataError(
            f'{images.number} images to train on are too few: give {FEWEST_IMAGES} or more'
        )
    img_size = Chosen(weights.img_size, 'as the weights were trained')
    if given.img_size is not None:
        img_size = Chosen(given.img_size, 'given: positions are resampled')
    require_patches(img_size.value, weights.patch_size)
    batch_size = choose_batch_size(images, machine, given)
    cost = WHOLE_IMAGE * core_seconds(
        images, machine, weights.arch, img_size.value, weights.patch_size
    )
    epochs = choose_epochs(images, machine, given, batch_size.value, cost, EPOCHS, GPU_STEPS)
    mixes = epochs.value >= MIXED_FROM
    why = f'less than {MIXED_FROM} epochs are too short to learn from mixed images'
    return FinetuningRecipe(
        img_size,
        batch_size,
        min(batch_size.value, PER_DEVICE[weights.arch]),
        choose_lr(batch_size.value, PAPER_LR, PAPER_BATCH),
        epochs,
        Chosen(mixes, '' if mixes else why),
        None if machine.has_gpu else epochs.value * images.number * cost / machine.cores / 60,
    )


def require_classes(folder: str, classes: Mapping[str, int], *, holds_out: bool) -> None:
    """Refuse class folders that no classifier can be trained on.

    Args:
        folder: of the class folders, for messages.
        classes: by name the number of images.
        holds_out: whether some of them are held out to validate.

    Raises:
        DataError: one class, or classes with too few images; names them.
    """
    if len(classes) < 2:
        raise DataError(
            f'{folder}: one class folder, {(only := next(iter(classes)))}: to tell classes apart '
            'there must be two or more, a folder for each; if the classes are the folders in '
            f'{only}, give {folder}/{only}; without labels there is `mae pretrain`'
        )
    least = FEWEST_IN_CLASS if holds_out else 1
    few = [name for name, number in classes.items() if number < least]
    if few:
        sizes = Counter(classes.values())
        every = 'each class' if len(few) == len(classes) else ', '.join(few[:3])
        more = f' and {len(few) - 3} more' if len(few) > 3 and len(few) < len(classes) else ''
        has = 'one image or none' if len(sizes) > 1 or 1 not in sizes else 'one image'
        raise DataError(
            f'{folder}: {every}{more} has {has}: give {least} or more images of each class'
            f'{", as one is held out to validate," if holds_out else ""} or remove the folder'
        )
