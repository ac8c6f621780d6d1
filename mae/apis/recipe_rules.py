"""The rules by which `mae pretrain` chooses its values from data and machine; and what they share
with those of `mae finetune`.

Each value is a `Choice` with its reason; the page own_data of the docs is this file in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mae.utils.errors import ConfigError, DataError
from mae.utils.vit_sizes import ARCHS

# Image sizes, the largest first, with the patch that gives 16 to 196 patches. A size fits where the
# shorter side of half of the images is at least 1 / ENLARGED of it.
SIZES = ((224, 16), (96, 8), (64, 8), (32, 4), (16, 4))
ENLARGED = 1.4

# Architecture on a GPU, by the least number of images that it is for. On a CPU it is the first.
ARCH_BY_IMAGES = ((0, 'tiny'), (10_000, 'small'), (100_000, 'base'))

# Decoders of the small encoders: width, blocks, heads. Larger ones keep the paper's.
DECODERS = {'tiny': (192, 4, 6), 'small': (256, 4, 8)}

FEWEST_IMAGES = 16
STEPS_PER_EPOCH = 8  # at least, by the batch
LARGEST_BATCH = {'cpu': 64, 'gpu': 1024}
SMALLEST_BATCH = 8
# Images of a batch that a GPU computes at once; the rest of the batch is accumulated.
PER_DEVICE = {'tiny': 512, 'small': 256, 'base': 128, 'large': 64, 'huge': 32}

# The paper's rate of pre-training and the batch it belongs to.
PAPER_LR, PAPER_BATCH = 2.4e-3, 4096

CPU_SECONDS = 300  # of a run, by the estimate below
GPU_STEPS = 40_000
EPOCHS = {'cpu': (5, 1600), 'gpu': (100, 1600)}  # at least and at most; the paper's longest is 1600

# Seconds of one core for a training step, per image: ViT-Ti in bfloat16 on an AMD EPYC, measured
# with 16 to 196 patches; the other sizes relative to it, the last two by their operations alone.
_STEP, _PER_PATCH = 0.002, 0.0002
_COST = {'tiny': 1.0, 'small': 1.9, 'base': 4.4, 'large': 9.3, 'huge': 22.0}
_DECODE_MEGAPIXEL, _CROP = 0.006, 0.003  # of a loader, a JPEG and its crop


@dataclass(frozen=True)
class Machine:
    """What a run has at hand.

    Attributes:
        has_gpu: whether it trains on one.
        cores: of the CPU, at least 1.
        amp: number format of training that the device computes fast; None for float32.
    """

    has_gpu: bool
    cores: int
    amp: str | None = 'bfloat16'

    @property
    def kind(self) -> str:
        """'gpu' or 'cpu'."""
        return 'gpu' if self.has_gpu else 'cpu'

    @property
    def name(self) -> str:
        """In words."""
        cores = f'{self.cores} core{"s" * (self.cores > 1)} of a CPU'
        return 'a GPU' if self.has_gpu else cores


@dataclass(frozen=True)
class Images:
    """What the rules ask of the data.

    Attributes:
        number: images that can be read.
        short_side: half of them have a shorter side of so many pixels or more.
        megapixels: mean of an image.
        channels: of all.
    """

    number: int
    short_side: int
    megapixels: float
    channels: int


@dataclass(frozen=True)
class Given:
    """What the user has decided; None leaves it to the rules."""

    arch: str | None = None
    img_size: int | None = None
    patch_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Choice:
    """A value of a recipe and the reason for it."""

    value: Any
    why: str


@dataclass(frozen=True)
class Recipe:
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

    arch: Choice
    img_size: Choice
    patch_size: Choice
    batch_size: Choice
    base_lr: Choice
    epochs: Choice
    minutes: float | None

    @property
    def per_device(self) -> int:
        """Images that a device computes at once."""
        return min(int(self.batch_size.value), PER_DEVICE[self.arch.value])


def pretraining_recipe(images: Images, machine: Machine, given: Given) -> Recipe:
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
    cost = core_seconds(images, arch.value, img_size.value, patch_size.value)
    epochs = choose_epochs(images, machine, given, batch_size.value, cost, EPOCHS, GPU_STEPS)
    minutes = epochs.value * images.number * cost / machine.cores / 60
    return Recipe(
        arch,
        img_size,
        patch_size,
        batch_size,
        base_lr,
        epochs,
        None if machine.has_gpu else minutes,
    )


def _arch(images: Images, machine: Machine, given: Given) -> Choice:
    if given.arch is not None:
        if given.arch not in ARCHS:
            raise ConfigError(f'--arch must be one of {", ".join(ARCHS)}, not {given.arch}')
        return Choice(given.arch, 'given')
    if not machine.has_gpu:
        return Choice('tiny', 'the smallest, on a CPU')
    least, arch = [row for row in ARCH_BY_IMAGES if row[0] <= images.number][-1]
    return Choice(arch, f'for {least:,} images or more' if least else 'for less than 10,000 images')


def _sizes(images: Images, given: Given) -> tuple[Choice, Choice]:
    side = images.short_side
    fitting = [row for row in SIZES if row[0] <= ENLARGED * side]
    if not fitting and given.img_size is None:
        size, patch = SIZES[-1]
        raise DataError(
            f'half of the images have a shorter side of {side} pixels or less, too small for the '
            f'smallest model, {size} pixels in patches of {patch}: enlarge them to {size} or more'
        )
    if given.img_size is None:
        img_size = Choice(fitting[0][0], f'half of the images have a side of {side} or more')
    else:
        img_size = Choice(given.img_size, 'given')
    if given.patch_size is not None:
        patch_size = Choice(given.patch_size, 'given')
    else:
        best = min(
            SIZES, key=lambda row: (img_size.value % row[1] > 0, abs(row[0] - img_size.value))
        )
        patch_size = Choice(best[1], '')
    require_patches(img_size.value, patch_size.value)
    count = (img_size.value // patch_size.value) ** 2
    why = f'{patch_size.why}: {count} patches' if patch_size.why else f'{count} patches'
    return img_size, Choice(patch_size.value, f'{why}, of which a quarter is seen')


def require_patches(img_size: int, patch_size: int) -> None:
    """Refuse an image that is no whole number of patches.

    Raises:
        ConfigError: names the nearest size that is.
    """
    if img_size < 1 or patch_size < 1:
        raise ConfigError('--img-size and --patch-size must be at least 1')
    if img_size < 2 * patch_size:
        raise ConfigError(
            f'--img-size {img_size} is less than two patches of {patch_size} pixels: give a larger '
            'image or a smaller --patch-size'
        )
    if img_size % patch_size:
        near = round(img_size / patch_size) * patch_size
        raise ConfigError(
            f'--img-size {img_size} is no whole number of patches of {patch_size} pixels; {near} is'
        )


def choose_batch_size(images: Images, machine: Machine, given: Given) -> Choice:
    """A power of two that leaves an epoch some steps.

    Raises:
        ConfigError: the user gave more than there are images.
    """
    if given.batch_size is not None:
        if not 1 <= given.batch_size <= images.number:
            raise ConfigError(
                f'--batch-size must lie in 1..{images.number}, the number of images, not '
                f'{given.batch_size}'
            )
        return Choice(given.batch_size, 'given')
    power = 1 << (images.number // STEPS_PER_EPOCH).bit_length() >> 1
    size = min(max(power, SMALLEST_BATCH), LARGEST_BATCH[machine.kind])
    return Choice(size, f'an epoch of {images.number:,} images has {images.number // size:,} steps')


def choose_lr(batch_size: int, paper_lr: float, paper_batch: int) -> Choice:
    """The `base_lr` of a batch, from the paper's rate and the batch it belongs to.

    Adam's rate goes with the root of the batch (Malladi et al. 2022); the paper, whose batches
    differ little, scales linearly.
    """
    lr = paper_lr * (batch_size / paper_batch) ** 0.5
    base_lr = float(f'{lr * 256 / batch_size:.2g}')
    why = f"lr {base_lr * batch_size / 256:.2g}: the paper's {paper_lr:g} x ({batch_size} / "
    return Choice(base_lr, f'{why}{paper_batch:,}) ** .5')


def core_seconds(images: Images, arch: str, img_size: int, patch_size: int) -> float:
    """Of a CPU for one image once in pre-training, loading included."""
    patches = (img_size // patch_size) ** 2
    load = _DECODE_MEGAPIXEL * images.megapixels + _CROP
    return load + (_STEP + _PER_PATCH * patches) * _COST[arch]


def choose_epochs(
    images: Images,
    machine: Machine,
    given: Given,
    batch_size: int,
    cost: float,
    limits: Mapping[str, tuple[int, int]],
    gpu_steps: int,
) -> Choice:
    """The length of a run: by time on a CPU, by steps on a GPU.

    Args:
        images: those to train on.
        machine: on which.
        given: by the user.
        batch_size: images of a step.
        cost: seconds of a core for one image once.
        limits: epochs at least and at most, by the kind of machine.
        gpu_steps: steps on a GPU.

    Raises:
        ConfigError: the user gave none.
    """
    if given.epochs is not None:
        if given.epochs < 1:
            raise ConfigError(f'--epochs must be at least 1, not {given.epochs}')
        return Choice(given.epochs, 'given')
    least, most = limits[machine.kind]
    if machine.has_gpu:
        wanted, why = gpu_steps * batch_size // images.number, f'{gpu_steps:,} steps'
    else:
        wanted = int(CPU_SECONDS * machine.cores / (cost * images.number))
        why = f'about {CPU_SECONDS // 60} minutes on {machine.name}'
    epochs = min(max(wanted, least), most)
    bounds = {least: 'the fewest that teach anything', most: 'the most that the rules give'}
    return Choice(epochs, why if epochs == wanted else bounds[epochs])


def described(recipe: Recipe) -> Iterator[str]:
    """Lines for a reader: what is trained, and how long."""
    size = recipe.img_size.value
    yield (
        f'ViT-{recipe.arch.value}, {size} x {size} pixels in patches of {recipe.patch_size.value}, '
        f'{recipe.batch_size.value} images a step, {recipe.epochs.value:,} epochs'
    )
    if recipe.minutes is not None:
        yield f'estimated time: {max(1, round(recipe.minutes)):,} minutes'
