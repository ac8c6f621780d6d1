"""What stands in for a sample that cannot be read: another one, chosen by its key."""

from typing import Any, Protocol

from mae.utils.errors import DataError
from mae.utils.hashing import derive

Sample = dict[str, Any]

_TRIES = 16  # replacements of one sample: if none can be read, more than a few files are at fault


class Readable(Protocol):
    """What `SeededDataset` offers here."""

    def __len__(self) -> int: ...

    def read(self, sample_id: int, key: int) -> Sample:
        """One sample, or DataError."""

    def name(self, sample_id: int) -> str:
        """The path of a sample's image; without one, its number."""


def read_or_replace(dataset: Readable, sample_id: int, key: int) -> Sample:
    """The sample, or the first readable one of a row that follows from `key` alone.

    Args:
        sample_id: its index in the source is `sample_id` modulo the source's length.
        key: the sample's random key, a 63-bit number, from which the replacements follow.

    Returns:
        The sample; a replacement has its own id and key, and `bad`: dict(id, path, reason,
        replaced_by).

    Raises:
        DataError: none of the row can be read either.
    """
    try:
        return dataset.read(sample_id, key)
    except DataError as error:
        refusal = error
    for attempt in range(_TRIES):
        new_key = derive(key, attempt)
        try:
            sample = dataset.read(new_key % len(dataset), new_key)
        except DataError:
            continue
        path = dataset.name(sample_id)
        reason = str(refusal).removeprefix(f'{path}: ')
        sample['bad'] = {
            'id': sample_id,
            'path': path,
            'reason': reason,
            'replaced_by': sample['id'],
        }
        return sample
    raise DataError(f'{refusal} ({_TRIES} others in its place cannot be read either)')
