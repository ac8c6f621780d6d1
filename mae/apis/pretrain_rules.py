"""The rules by which `mae pretrain` chooses its values from the images and the machine."""

from collections.abc import Iterator
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
    estimate,
    require_patches,
)
from mae.utils.errors import ConfigError, DataError
from mae.utils.text import counted
from mae.utils.vit_sizes import ARCHS

# Image sizes, the largest first, with the patch that gives 16 to 196 patches. A size fits where the
# shorter side of half of the images is at least 1 / ENLARGED of it.
SIZES = ((224, 16), (96, 8), (64, 8), (32, 4), (16, 4))
ENLARGED = 1.4

# Architecture on a GPU, by the least number of images that it is for. On a CPU it is the first.
ARCH_BY_IMAGES = ((0, 'tiny'), (10_000, 'small'), (100_000, 'base'))

# Decoders of the small encoders: width, blocks, heads. Larger ones keep the paper's.
DECODERS = {'tiny': (192, 4, 6), 'small': (256, 4, 8)}

# The paper's rate of pre-training and the batch it belongs to.
PAPER_LR, PAPER_BATCH = 2.4e-3, 4096
WARMUP_EPOCHS = 40
GPU_STEPS = 40_000
EPOCHS = {'cpu': (5, 1600), 'gpu': (100, 1600)}  # at least and at most; the paper's longest is 1600


@dataclass(frozen=True)
class PretrainingRecipe:
    """The values of a pre-training.

    Attributes:
        arch: name of the encoder's size.
        img_size: side in pixels.
        patch_size: side in pixels.
        batch_size: images of a step.
        base_lr: learning rate of a batch of 256.
        epochs: length of the run.
        minutes: estimated, on a CPU; None on a GPU, which is not measured yet.
    """

    arch: Chosen
    img_size: Chosen
    patch_size: Chosen
    batch_size: Chosen
    base_lr: Chosen
    epochs: Chosen
    minutes: float | None

    @property
    def per_device(self) -> int:
        """Images that a device computes at once."""
        return min(int(self.batch_size.value), PER_DEVICE[self.arch.value])


def pretraining_recipe(images: Images, machine: Machine, given: Given) -> PretrainingRecipe:
    """Choose the values of a pre-training.

    Raises:
        DataError: too few images, or they are too small for any model.
        ConfigError: what the user has given is not possible; names it.
    """
    if images.number < FEWEST_IMAGES:
        raise DataError(
            f'{images.number} images are too few to learn from: give {FEWEST_IMAGES} or more, '
            'a thousand for useful features, or fine-tune published weights (mae finetune)'
        )
    arch = _arch(images, machine, given)
    img_size, patch_size = _sizes(images, given)
    batch_size = choose_batch_size(images, machine, given)
    base_lr = choose_lr(batch_size.value, PAPER_LR, PAPER_BATCH)
    cost = core_seconds(images, machine, arch.value, img_size.value, patch_size.value)
    epochs = choose_epochs(images, machine, given, batch_size.value, cost, EPOCHS, GPU_STEPS)
    minutes = epochs.value * images.number * cost / machine.cores / 60
    return PretrainingRecipe(
        arch,
        img_size,
        patch_size,
        batch_size,
        base_lr,
        epochs,
        None if machine.has_gpu else minutes,
    )


def _arch(images: Images, machine: Machine, given: Given) -> Chosen:
    if given.arch is not None:
        if given.arch not in ARCHS:
            raise ConfigError(f'arch must be one of {", ".join(ARCHS)}, not {given.arch}')
        return Chosen(given.arch, 'given')
    if not machine.has_gpu:
        return Chosen('tiny', 'the smallest, on a CPU')
    least, arch = [row for row in ARCH_BY_IMAGES if row[0] <= images.number][-1]
    return Chosen(arch, f'for {least:,} images or more' if least else 'for less than 10,000 images')


def _sizes(images: Images, given: Given) -> tuple[Chosen, Chosen]:
    side = images.short_side
    fitting = [row for row in SIZES if row[0] <= ENLARGED * side]
    if not fitting and given.img_size is None:
        size, patch = SIZES[-1]
        raise DataError(
            f'half of the images have a shorter side of {side} pixels or less, too small for the '
            f'smallest model, {size} pixels in patches of {patch}: enlarge them to {size} or more'
        )
    if given.img_size is None:
        img_size = Chosen(fitting[0][0], f'half of the images have a side of {side} or more')
    else:
        img_size = Chosen(given.img_size, 'given')
    if given.patch_size is not None:
        patch_size = Chosen(given.patch_size, 'given')
    else:
        best = min(
            SIZES, key=lambda row: (img_size.value % row[1] > 0, abs(row[0] - img_size.value))
        )
        patch_size = Chosen(best[1], '')
    require_patches(img_size.value, patch_size.value)
    count = (img_size.value // patch_size.value) ** 2
    why = f'{patch_size.why}: {count} patches' if patch_size.why else f'{count} patches'
    return img_size, Chosen(patch_size.value, f'{why}, of which a quarter is seen')


def described(recipe: PretrainingRecipe) -> Iterator[str]:
    """Lines for a reader: what is trained, and how long."""
    size = recipe.img_size.value
    yield (
        f'ViT-{recipe.arch.value}, {size} x {size} pixels in patches of {recipe.patch_size.value}, '
        f'{counted(recipe.batch_size.value, "image")} a step, '
        f'{counted(recipe.epochs.value, "epoch")}'
    )
    yield estimate(recipe.minutes)
