"""Writes packed images shard by shard, so that an interrupted run continues where it stopped."""

import io
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mae.datasets.seeded import Source
from mae.datasets.sources.array_file import Arrays, read_arrays, write_arrays
from mae.datasets.sources.folder import ImageFolder
from mae.datasets.sources.packed import FORMAT, INDEX, shard_name
from mae.datasets.sources.path_index import IndexBuilder
from mae.datasets.transforms import DecodeImage, ResizeShort
from mae.datasets.transforms.decode import decoding
from mae.utils.errors import DataError
from mae.utils.files import whole_file, writer_of
from mae.utils.text import first_difference

_NUMBERS = ('starts', 'sizes', 'checksums', 'labels')
# Entries of a job that older versions did not write: left out where they are empty, so that work
# which such a version began can go on.
_NEWER = ('left_out', 'pixels')


@dataclass(frozen=True)
class Packing:
    """How images are packed.

    Attributes:
        short_side: length in pixels to which the shorter side of larger images is resized; smaller
            images keep their bytes. None: all keep them.
        quality: JPEG quality of resized images, 1..100.
        per_shard: number of images in a file.
        pixels: keep all images decoded, as uint8 arrays (H, W, 3) of numpy's format.
    """

    short_side: int | None = 256
    quality: int = 90
    per_shard: int = 10_000
    pixels: bool = False

    def job(self, source: Any) -> dict[str, Any]:
        """All that the shards of a source depend on."""
        job = {'images': len(source), 'source': os.path.realpath(source.folder), **vars(self)}
        job['left_out'] = getattr(source, 'left_out', [])
        return {name: value for name, value in job.items() if value or name not in _NEWER}


def pack(
    source: Any,
    folder: Path,
    packing: Packing,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Pack all images of a source into a folder, which appears once all of it is written.

    Until then the work is in `<folder>.part`; the same call continues from what is there.

    Args:
        source: a dataset with `get_data_info`, `get_gt_labels`, `metainfo` and `folder`.
        folder: output; must not exist, nor lie within a folder of images.
        packing: size and quality of the images, images per shard.
        workers: number of processes.
        progress: called with (images done, all images).

    Raises:
        DataError: `folder` exists or lies within the images, an image cannot be decoded,
            `<folder>.part` was begun with other options or images, or the system ended a process.
    """
    if folder.exists():
        raise DataError(f'{folder} exists already; remove it, or give another place')
    among_images = folder.resolve().is_relative_to(os.path.realpath(source.folder))
    if among_images and isinstance(getattr(source, 'source', source), ImageFolder):
        raise DataError(
            f'{folder} lies within {source.folder}, where it would be taken for one more folder of '
            'images; give a place outside'
        )
    part = folder.with_name(f'{folder.name}.part')
    part.mkdir(parents=True, exist_ok=True)
    _claim(part, packing.job(source))
    numbers = range(-(-len(source) // packing.per_shard))
    labels = np.asarray(source.get_gt_labels())
    missing = [n for n in numbers if not _is_done(source, labels, part, packing, n)]
    done = len(source) - sum(len(_span(source, packing, number)) for number in missing)
    progress(done, len(source))
    for count in _shards(source, part, packing, missing, workers):
        done += count
        progress(done, len(source))
    _join(part, numbers, source)
    os.rename(part, folder)


def _shards(
    source: Any, part: Path, packing: Packing, numbers: list[int], workers: int
) -> Iterator[int]:
    """Writes the shards; yields the number of images of each when it is done."""
    if workers == 1:
        yield from (_pack_shard(source, part, packing, number) for number in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context('spawn')) as pool:
        running = [pool.submit(_pack_shard, source, part, packing, number) for number in numbers]
        try:
            yield from (finished.result() for finished in as_completed(running))
        except BrokenProcessPool as error:
            raise DataError(
                'a process was ended by the system, most likely because memory ran out; the same '
                'again with fewer workers goes on where it was'
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _claim(part: Path, job: dict[str, Any]) -> None:
    file = part / 'job.idx'
    if not file.exists():
        write_arrays(file, job, {})
    elif (other := read_arrays(file)[0]) != job:
        wrong = first_difference(job, other)
        raise DataError(
            f'{part}: begun with {wrong}={other.get(wrong)}, not {job.get(wrong)}; remove it, or '
            'finish it as it was begun'
        )


def _span(source: Source, packing: Packing, number: int) -> range:
    start = number * packing.per_shard
    return range(start, min(start + packing.per_shard, len(source)))


def _is_done(source: Any, labels: NDArray[Any], part: Path, packing: Packing, number: int) -> bool:
    """Whether a shard exists; raises DataError if it contains other images."""
    file = _shard_index(part, number)
    if not ((part / shard_name(number)).exists() and file.exists()):
        return False
    meta, arrays = read_arrays(file)
    span = _span(source, packing, number)
    ends = [_name(source, source.get_data_info(index)) for index in (span[0], span[-1])]
    same = (arrays['labels'] == labels[span.start : span.stop]).all()
    if [meta['names'][0], meta['names'][-1]] != ends or not same:
        raise DataError(f'{part}: {source.folder} has changed since it was begun; remove {part}')
    return True


def _name(source: Any, info: dict[str, Any]) -> str:
    name: str = os.path.relpath(info['img_path'], source.folder)
    return name


def _shard_index(part: Path, number: int) -> Path:
    return part / f'{shard_name(number)}.idx'


def _pack_shard(source: Any, part: Path, packing: Packing, number: int) -> int:
    """Write a shard and, last, its index; returns the number of images."""
    numbers: dict[str, list[int]] = {name: [] for name in _NUMBERS}
    names = []
    with whole_file(part / shard_name(number)) as file:
        for index in _span(source, packing, number):
            info = source.get_data_info(index)
            try:
                content = _content(info, packing)
            except DataError as error:
                raise DataError(
                    f'{error}; tools/data/verify.py --out FILE lists all such images, and '
                    'that file as quarantine leaves them out'
                ) from error
            values = (file.tell(), len(content), zlib.crc32(content), info['gt_label'])
            for name, value in zip(_NUMBERS, values, strict=True):
                numbers[name].append(value)
            names.append(_name(source, info))
            file.write(content)
    kinds = {'starts': np.int64, 'sizes': np.uint32, 'checksums': np.uint32, 'labels': np.int32}
    arrays: Arrays = {name: np.array(numbers[name], kind) for name, kind in kinds.items()}
    write_arrays(_shard_index(part, number), {'names': names}, arrays)
    return len(names)


def _content(info: dict[str, Any], packing: Packing) -> bytes:
    """The bytes to keep of an image."""
    decode, resize = _steps(packing.short_side or 1)
    with decoding(info['img_path']):
        content = bytes(decode.read(info))
    if packing.short_side is None and not packing.pixels:
        return content
    img: Tensor = decode({'img_path': info['img_path'], 'img_bytes': content})['img']
    is_larger = packing.short_side is not None and min(img.shape[-2:]) > packing.short_side
    if is_larger:
        img = resize({'img': img})['img']
    elif not packing.pixels:
        return content
    pixels, stream = np.ascontiguousarray(img.permute(1, 2, 0).numpy()), io.BytesIO()
    if packing.pixels:
        np.save(stream, pixels, allow_pickle=False)
    else:
        Image.fromarray(pixels).save(stream, 'JPEG', quality=packing.quality)
    return stream.getvalue()


@cache
def _steps(short_side: int) -> tuple[DecodeImage, ResizeShort]:
    return DecodeImage(), ResizeShort(short_side)


def _join(part: Path, numbers: range, source: Any) -> None:
    """Merge the indexes of the shards into one."""
    found = [read_arrays(_shard_index(part, number)) for number in numbers]
    builder = IndexBuilder()
    for meta, _ in found:
        builder.add(meta['names'], -1)
    arrays = {name: np.concatenate([a[name] for _, a in found]) for name in _NUMBERS}
    shards = np.repeat(np.arange(len(found), dtype=np.uint32), [len(a['labels']) for _, a in found])
    sizes = [(part / shard_name(number)).stat().st_size for number in numbers]
    classes = list(source.metainfo.get('classes') or ())
    write_arrays(
        part / INDEX,
        {'format': FORMAT, 'classes': classes, 'sizes': sizes},
        {**builder.build().arrays, 'shards': shards, **arrays},
    )
    for number in numbers:
        _shard_index(part, number).unlink()
    (part / 'job.idx').unlink()
    for path in part.iterdir():  # of processes that were killed
        if writer_of(path) is not None:
            path.unlink()
