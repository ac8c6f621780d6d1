"""A look at images: what cannot be read, shows one colour, or is scaled wrong; and copies.

Shapes: C channels, H W pixels.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mae.datasets.look import some_levels
from mae.datasets.transforms import DecodeImage
from mae.doctor.copies import files_of, judge_copies, same_digests, same_files
from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.words import listed
from mae.utils.digest import tensor_sha256
from mae.utils.errors import DataError
from mae.utils.hardware import cores_at_hand
from mae.utils.ratio import evenly_spaced
from mae.utils.text import counted, first_line, printable

SAMPLE = 192  # images that are decoded, spread over the dataset
# Deviation in grey levels up to which an image of that type shows one colour.
_FLAT = {torch.uint8: 1.0, torch.uint16: 1 / 256}
# How far the normalised images may be from mean 0 and deviation 1. Photographs of one kind, such
# as snow or forests, are off by up to half a deviation; a mean of another scale by two or more.
_FAR, _FACTOR = 0.75, 2.0
_MANY = 0.02  # share of the images from which flat ones count
_DEFAULT_BAD = 0.001  # of BadSamplesHook


@dataclass(frozen=True)
class Decoded:
    """What one image is.

    Attributes:
        name: its path.
        size: (H, W).
        moments: float64 (2, C), mean and mean square of each channel in grey levels of 0 to 255;
            those of 16 bits are fractions.
        digest: hash of all pixels.
        is_flat: whether it shows one colour.
    """

    name: str
    size: tuple[int, int]
    moments: Tensor
    digest: str
    is_flat: bool


def decode_sample(
    source: Any, decode: DecodeImage, sample: int = SAMPLE
) -> tuple[list[Decoded], list[tuple[str, str]]]:
    """Decode images of a source, in threads.

    Args:
        source: of the images.
        decode: with the channels and bits of the run.
        sample: number of images at most, spread over the source.

    Returns:
        The images, and (path, reason) of those that cannot be read.
    """

    def one(index: int) -> Decoded | tuple[str, str]:
        info = source.get_data_info(index)
        name = str(info.get('img_path', f'sample {index}'))
        try:
            return _measured(name, decode.transform(info)['img'])
        except (DataError, ValueError) as error:
            return name, first_line(error).removeprefix(f'{name}: ')

    with ThreadPoolExecutor(cores_at_hand()) as pool:
        found = list(pool.map(one, evenly_spaced(len(source), sample)))
    good = [each for each in found if isinstance(each, Decoded)]
    return good, [each for each in found if not isinstance(each, Decoded)]


def _measured(name: str, pixels: Tensor) -> Decoded:
    H, W = pixels.shape[1:]
    levels = some_levels(pixels)
    moments = torch.stack([levels.mean(1), levels.square().mean(1)])
    is_flat = bool((levels.std(1, unbiased=False) < _FLAT[pixels.dtype]).all())
    return Decoded(name, (H, W), moments, tensor_sha256(pixels), is_flat)


def examine_data(
    dataset: Any, val_dataset: Any | None, config: Mapping[str, Any], decode: DecodeImage
) -> ExaminedPart:
    """Look at a sample of the training images, and at the files of both datasets.

    Args:
        dataset: a `SeededDataset`.
        val_dataset: likewise, or None.
        config: of the run.
        decode: with the channels and bits of the run.
    """
    source = dataset.source
    kind = type(getattr(source, 'source', source)).__name__  # within a quarantine
    images, unreadable = decode_sample(source, decode)
    hook = (config.get('default_hooks') or {}).get('bad_samples') or {}
    limit = hook.get('max_bad_fraction', _DEFAULT_BAD)
    findings = judge_unreadable(unreadable, len(images) + len(unreadable), limit)
    lines = [f'{counted(len(source), "image")} of {kind}; decoded: {len(images)}']
    facts: dict[str, Any] = {'images': len(source), 'decoded': len(images)}
    if images:
        mean, std = statistics(images)
        sizes = np.median([image.size for image in images], axis=0).astype(int).tolist()
        lines.append(f'half are {sizes[1]} x {sizes[0]} pixels or more')
        lines.append(f'mean {listed(mean)}, deviation {listed(std)} in grey levels')
        facts |= {'median_size': sizes, 'mean': mean, 'std': std}
        given = config['model'].get('preprocessor') or {}
        if given.get('mean') and given.get('std'):
            findings += judge_statistics(mean, std, given['mean'], given['std'])
        findings += judge_flat(images)
    paths = files_of(source)
    val_paths = [] if val_dataset is None else files_of(val_dataset.source)
    if paths:
        groups = same_files([*paths, *val_paths])
    else:  # of what was decoded
        groups = same_digests((image.name, image.digest) for image in images)
    number = len(paths) or len(images)
    findings += judge_copies(groups, set(paths or [image.name for image in images]), number)
    facts['files_compared'] = number
    lines.append(f'{number:,} compared with one another')
    return ExaminedPart('data', lines, findings, facts)


def statistics(images: Sequence[Decoded]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in grey levels."""
    mean, square = torch.stack([image.moments for image in images]).mean(0)
    std = (square - mean.square()).clamp(min=0).sqrt()
    return [round(x, 4) for x in mean.tolist()], [round(x, 4) for x in std.tolist()]


def judge_unreadable(
    unreadable: Sequence[tuple[str, str]], number: int, limit: float
) -> list[FoundFault]:
    """Images that cannot be read.

    Args:
        unreadable: path and reason of each.
        number: images that were looked at.
        limit: share at which the run stops.
    """
    if not unreadable:
        return []
    path, reason = unreadable[0]
    what = f'{len(unreadable)} of {number} cannot be read, such as {printable(path)}: {reason}'
    # One of a sample says little about a small share.
    is_fatal = len(unreadable) > max(1, limit * number)
    return [FoundFault('too_many_unreadable' if is_fatal else 'unreadable_images', what)]


def judge_statistics(
    mean: Sequence[float],
    std: Sequence[float],
    given_mean: Sequence[float],
    given_std: Sequence[float],
) -> list[FoundFault]:
    """Compare the images with what the preprocessor subtracts and divides by.

    Args:
        mean, std: of each channel of the images, in grey levels.
        given_mean, given_std: of the preprocessor, one for each channel or one for all.
    """
    found, spread_of = np.array(mean), np.array(std)
    subtracted, divided = np.array(given_mean, float), np.array(given_std, float)
    offset, scale = (found - subtracted) / divided, spread_of / divided
    is_far = np.abs(offset).max() > _FAR
    is_scaled = (scale > _FACTOR).any() or (scale < 1 / _FACTOR).any()
    if not (is_far or is_scaled):
        return []
    what = (
        f'mean {listed(given_mean)} and std {listed(given_std)} leave the images with mean '
        f'{listed(offset)} and deviation {listed(scale)}, where 0 and 1 are meant; their own '
        f'are {listed(mean)} and {listed(std)}'
    )
    return [FoundFault('wrong_mean', what)]


def judge_flat(images: Sequence[Decoded]) -> list[FoundFault]:
    """Images that show one colour, where they are more than a few."""
    flat = [image.name for image in images if image.is_flat]
    if len(flat) <= _MANY * len(images):
        return []
    what = f'{len(flat)} of {len(images)} show one colour, such as {printable(flat[0])}'
    return [FoundFault('constant_images', what)]
