"""Images that occur twice, in the training data or in training and validation."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mae.doctor.findings import FoundFault
from mae.utils.digest import file_digest
from mae.utils.ratio import evenly_spaced
from mae.utils.text import printable

_MOST_FILES = 20_000  # whose sizes are compared; the contents only of files of one size
_MOST_BYTES = 1 << 30  # that are hashed
_MANY = 0.02  # share of the images from which copies are more than a few


def same_files(paths: Sequence[str]) -> list[list[str]]:
    """Groups of files with the same content, in the order of the paths.

    Only files of one size are read, up to a gigabyte of them.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):  # `unreadable_images` tells of it
            by_size[os.stat(path).st_size].append(path)
    digests: list[tuple[str, str]] = []
    read = 0
    for size, candidates in by_size.items():
        read += size * len(candidates) if len(candidates) > 1 else 0
        if len(candidates) > 1 and read <= _MOST_BYTES:
            for path in candidates:
                with suppress(OSError):
                    digests.append((path, file_digest(Path(path))))
    return same_digests(digests)


def same_digests(digests: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Names that have a digest in common with others, in groups.

    Args:
        digests: name and digest of each.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name, digest in digests:
        groups[digest].append(name)
    return [group for group in groups.values() if len(group) > 1]


def judge_copies(
    groups: Sequence[Sequence[str]], training: set[str], number: int
) -> list[FoundFault]:
    """Files that occur twice, in training or in training and validation.

    Args:
        groups: names of the same content each.
        training: all names of the training data that were compared.
        number: of images in the training data that were compared.
    """
    findings = []
    inside = [[name for name in group if name in training] for group in groups]
    twice = [group for group in inside if len(group) > 1]
    if copies := sum(len(group) - 1 for group in twice):
        first, second = (printable(name) for name in twice[0][:2])
        what = f'{copies} of {number:,} are copies of others, such as {second} of {first}'
        many = copies > _MANY * number
        findings.append(FoundFault('duplicate_files' if many else 'few_duplicate_files', what))
    outside = [[name for name in group if name not in training] for group in groups]
    if both := [(i, o) for i, o in zip(inside, outside, strict=True) if i and o]:
        seen = sum(len(others) for _, others in both)
        first, second = (printable(names[0]) for names in both[0])
        what = f'{seen} are in the training data too, such as {second}: {first}'
        findings.append(FoundFault('validation_seen_in_training', what))
    return findings


def files_of(source: Any) -> list[str]:
    """Files of a source; [] where images are packed, or lie in memory."""
    first = source.get_data_info(0)
    if 'img_path' not in first or not {'img', 'img_bytes'}.isdisjoint(first):
        return []
    indices = evenly_spaced(len(source), _MOST_FILES)
    return [str(source.get_data_info(index)['img_path']) for index in indices]
