"""What the rules of `mae pretrain` and `mae finetune` share: batch, learning rate, length, cost.

Each value is a `Chosen` with its reason; the page own_data of the docs has the rules in words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from mae.utils.errors import ConfigError
from mae.utils.text import counted

FEWEST_IMAGES = 16
STEPS_PER_EPOCH = 8  # at least, by the batch
LARGEST_BATCH = {'cpu': 64, 'gpu': 1024}
SMALLEST_BATCH = 8
MOST_PATCHES = 16_384  # of an image; typing errors would fill the memory
# Images of a batch that a GPU computes at once; the rest of the batch is accumulated.
PER_DEVICE = {'tiny': 512, 'small': 256, 'base': 128, 'large': 64, 'huge': 32}

CPU_SECONDS = 300  # of a run, by the estimate below

# Seconds of one core for a training step, per image: ViT-Ti in bfloat16 on an AMD EPYC, measured
# with 16 to 196 patches; the other sizes relative to it, the last two by their operations alone.
_STEP, _PER_PATCH = 0.002, 0.0002
_COST = {'tiny': 1.0, 'small': 1.9, 'base': 4.4, 'large': 9.3, 'huge': 22.0}
_FLOAT32 = 1.5  # times as long, measured likewise
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
    """

    number: int
    short_side: int
    megapixels: float


@dataclass(frozen=True)
class Given:
    """What the user has decided; None leaves it to the rules."""

    arch: str | None = None
    img_size: int | None = None
    patch_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Chosen:
    """A value of a recipe and the reason for it."""

    value: Any
    why: str


def require_patches(img_size: int, patch_size: int) -> None:
    """Refuse an image that is no whole number of patches, or one of too many.

    Raises:
        ConfigError: names the nearest size that is possible.
    """
    if img_size < 1 or patch_size < 1:
        raise ConfigError('img_size and patch_size must be at least 1')
    if img_size < 2 * patch_size:
        raise ConfigError(
            f'img_size {img_size} is less than two patches of {patch_size} pixels: give '
            f'{2 * patch_size} or more'
        )
    if img_size % patch_size:
        near = round(img_size / patch_size) * patch_size
        raise ConfigError(
            f'img_size {img_size} is no whole number of patches of {patch_size} pixels; {near} is'
        )
    if (count := (img_size // patch_size) ** 2) > MOST_PATCHES:
        most = isqrt(MOST_PATCHES) * patch_size
        raise ConfigError(
            f'img_size {img_size} makes {count:,} patches of {patch_size} pixels, too many: give '
            f'{most} or less'
        )


def choose_batch_size(images: Images, machine: Machine, given: Given) -> Chosen:
    """A power of two that leaves an epoch some steps.

    Raises:
        ConfigError: the user gave more than there are images.
    """
    if given.batch_size is not None:
        if not 1 <= given.batch_size <= images.number:
            raise ConfigError(
                f'batch_size must lie in 1..{images.number}, the number of images, not '
                f'{given.batch_size}'
            )
        return Chosen(given.batch_size, 'given')
    power = 1 << (images.number // STEPS_PER_EPOCH).bit_length() >> 1
    size = min(max(power, SMALLEST_BATCH), LARGEST_BATCH[machine.kind])
    steps = counted(images.number // size, 'step')
    return Chosen(size, f'an epoch of {images.number:,} images has {steps}')


def choose_lr(batch_size: int, paper_lr: float, paper_batch: int) -> Chosen:
    """The `base_lr` of a batch, from the paper's rate and the batch it belongs to.

    Adam's rate goes with the root of the batch (Malladi et al. 2022); the paper, whose batches
    differ little, scales linearly.
    """
    lr = paper_lr * (batch_size / paper_batch) ** 0.5
    base_lr = float(f'{lr * 256 / batch_size:.2g}')
    why = f"lr {base_lr * batch_size / 256:.2g}: the paper's {paper_lr:g} x ({batch_size} / "
    return Chosen(base_lr, f'{why}{paper_batch:,}) ** .5')


def core_seconds(
    images: Images, machine: Machine, arch: str, img_size: int, patch_size: int
) -> float:
    """Of a CPU for one image once in pre-training, loading included."""
    patches = (img_size // patch_size) ** 2
    load = _DECODE_MEGAPIXEL * images.megapixels + _CROP
    precision = 1.0 if machine.amp else _FLOAT32
    return load + (_STEP + _PER_PATCH * patches) * _COST[arch] * precision


def choose_epochs(
    images: Images,
    machine: Machine,
    given: Given,
    batch_size: int,
    cost: float,
    limits: Mapping[str, tuple[int, int]],
    gpu_steps: int,
) -> Chosen:
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
            raise ConfigError(f'epochs must be at least 1, not {given.epochs}')
        return Chosen(given.epochs, 'given')
    least, most = limits[machine.kind]
    if machine.has_gpu:
        wanted, why = gpu_steps * batch_size // images.number, f'{gpu_steps:,} steps'
    else:
        wanted = int(CPU_SECONDS * machine.cores / (cost * images.number))
        why = f'about {CPU_SECONDS // 60} minutes on {machine.name}'
    epochs = min(max(wanted, least), most)
    bounds = {least: 'the fewest that the rules give', most: 'the most that the rules give'}
    return Chosen(epochs, why if epochs == wanted else bounds[epochs])


def choose_warmup(epochs: int, paper_epochs: int) -> Chosen:
    """Epochs of warm-up: a tenth of the run, or the paper's if that is less."""
    if epochs < 10 * paper_epochs:
        return Chosen(epochs / 10, 'a tenth of the run')
    return Chosen(paper_epochs, "the paper's")


def choose_interval(epochs: int) -> Chosen:
    """Epochs between checkpoints, and between validations."""
    interval = max(1, epochs // 10)
    return Chosen(interval, 'epochs: about ten times in a run' if interval > 1 else 'each epoch')


def estimate(minutes: float | None) -> str:
    """The time of a run, for a reader."""
    if minutes is None:
        return 'estimated time: none for a GPU, on which the rules are not measured yet'
    return f'estimated time: {max(1, round(minutes)):,} min'
