"""A source of images and a pipeline that is random by the sample's key alone (docs: data_flow)."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset

from mae.datasets.quarantine import Quarantined
from mae.registry import DATASETS, TRANSFORMS
from mae.utils.errors import ConfigError, DataError
from mae.utils.hashing import derive, sample_keys
from mae.utils.label_maps import check_map_labels
from mae.utils.seeding import generators_kept, seed_generators
from mae.utils.text import first_line

Sample = dict[str, Any]
Request = int | tuple[int, int]

_TRIED = 8  # samples of `try_few`: less than two seconds even of large images
_TRIES = 16  # replacements of one sample: if none can be read, more than a few files are at fault


class Source(Protocol):
    """What a dataset must have to be a source; mmengine's `BaseDataset` has it."""

    def __len__(self) -> int: ...

    def get_data_info(self, index: int) -> dict[str, Any]:
        """A new dict with `img_path` or `img`, and `gt_label` if there is one."""


@DATASETS.register_module()
class SeededDataset(Dataset[Sample]):
    """Samples whose augmentation is a function of their key: not of worker, rank or history.

    The key seeds `random`, numpy and torch before the pipeline runs, so transforms of any library
    follow it; the caller's own random state is restored afterwards.

    A sample that cannot be read is an error, unless `replaces_bad` is set, as `BadSamplesHook`
    does for training: then another one, chosen by the key, takes its place and notes it in `bad`.

    Args:
        source: a dataset, or the config of one, with `__len__` and `get_data_info`.
        pipeline: transforms or their configs; the last is `PackInputs`.
        quarantine: file with the paths of images to exclude, as `tools/data/verify.py` writes.

    Raises:
        ConfigError: the source is no such dataset, or the pipeline is empty.
        DataError: there is no such quarantine list, or it excludes every image.
    """

    replaces_bad = False

    def __init__(
        self,
        source: Source | dict[str, Any],
        pipeline: Sequence[Any],
        *,
        quarantine: str | None = None,
    ) -> None:
        source = DATASETS.build(source) if isinstance(source, dict) else source
        if not (hasattr(source, 'get_data_info') and hasattr(source, '__len__')):
            raise ConfigError(
                f'SeededDataset: source must have __len__ and get_data_info, '
                f'{type(source).__name__} has not'
            )
        if not pipeline:
            raise ConfigError('SeededDataset: pipeline is empty; it must end with PackInputs')
        if hasattr(source, 'full_init'):
            source.full_init()
        self.source: Source = source if quarantine is None else Quarantined(source, quarantine)
        self.pipeline = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline]
        self.is_random = any(getattr(t, 'is_random', True) for t in self.pipeline)
        self.has_targets = any(getattr(t, 'has_targets', False) for t in self.pipeline)
        self._length = len(self.source)
        self._num_classes = len(self.metainfo.get('classes') or ())

    def __len__(self) -> int:
        return self._length

    @property
    def metainfo(self) -> dict[str, Any]:
        """`metainfo` of the source; its `classes` are the names, in the order of the labels."""
        return dict(getattr(self.source, 'metainfo', {}))

    def __getitem__(self, request: Request) -> Sample:
        return self.__getitems__([request])[0]

    def __getitems__(self, requests: Sequence[Request]) -> list[Sample]:
        """dict(inputs uint8 (C, H, W), label, id, key) of each (sample id, key).

        A plain id has the key of seed 0, epoch 0. The sample is number `id % len` of the source.
        A replacement has its own id and key, and `bad`: dict(id, path, reason, replaced_by).

        Raises:
            DataError: a sample cannot be read or transformed, nor, if bad ones are replaced, any
                of its replacements; names the path.
        """
        pairs = [r if isinstance(r, tuple) else (r, _default_key(r)) for r in requests]
        read = self._read_or_replace if self.replaces_bad else self.read
        if not self.is_random:
            return [read(sample_id, key) for sample_id, key in pairs]
        with generators_kept():
            return [read(sample_id, key) for sample_id, key in pairs]

    def name(self, sample_id: int) -> str:
        """The path of a sample's image; without one, its number."""
        index = sample_id % self._length
        name: str = self.source.get_data_info(index).get('img_path', f'sample {index}')
        return name

    def try_few(self, labels: tuple[int, int] | None = None) -> None:
        """Read a few samples, spread from the first to the last, and drop them.

        Args:
            labels: number of classes and ignored label, which label maps must keep to.

        Raises:
            ConfigError: as of `read`.
            DataError: one cannot be read, or has a label that is neither; names the path.
        """
        last = len(self) - 1
        for index in sorted({round(part * last / (_TRIED - 1)) for part in range(_TRIED)}):
            sample = self[index]
            if labels is not None and 'map' in sample:
                check_map_labels(sample['map'], *labels, self.name(index))

    def read(self, sample_id: int, key: int) -> Sample:
        """One sample; does not restore the generators' state.

        Raises:
            ConfigError: a transform cannot work as it is set, or lacks a library.
            DataError: the sample cannot be read or transformed; names the path.
        """
        if self.is_random:
            seed_generators(key)
        results = self.source.get_data_info(sample_id % self._length)
        name = results.get('img_path', f'sample {sample_id % self._length}')
        for transform in self.pipeline:
            try:
                results = transform(results)
            except DataError:
                raise
            except ConfigError as error:  # no other sample would do
                raise ConfigError(f'{type(transform).__name__}: {first_line(error)}') from error
            except Exception as error:
                step = type(transform).__name__
                raise DataError(f'{name}: {step} failed: {_why(error, results)}') from error
        if not results or 'inputs' not in results or 'label' not in results:
            raise DataError(f'{name}: the pipeline gave no sample; it must end with PackInputs')
        if self._num_classes and not -1 <= results['label'] < self._num_classes:
            raise DataError(
                f'{name}: label {results["label"]}, but there are {self._num_classes} classes'
            )
        ignored = results.pop('ignore_index', 255)
        if 'map' in results and self._num_classes:
            check_map_labels(results['map'], self._num_classes, ignored, name)
        results['id'] = sample_id
        results['key'] = key
        return results

    def _read_or_replace(self, sample_id: int, key: int) -> Sample:
        """The sample, or the first readable one of a sequence that follows from `key` alone.

        Raises:
            DataError: none of the sequence can be read either.
        """
        try:
            return self.read(sample_id, key)
        except DataError as error:
            refusal = error
        for attempt in range(_TRIES):
            new_key = derive(key, attempt)
            try:
                sample = self.read(new_key % len(self), new_key)
            except DataError:
                continue
            path = self.name(sample_id)
            sample['bad'] = {
                'id': sample_id,
                'path': path,
                'reason': str(refusal).removeprefix(f'{path}: '),
                'replaced_by': sample['id'],
            }
            return sample
        raise DataError(f'{refusal} ({_TRIES} others in its place cannot be read either)')


def _default_key(sample_id: int) -> int:
    return int(sample_keys(0, 0, torch.tensor([sample_id])))


def _why(error: Exception, results: object) -> str:
    """What a transform lacked, if it asked a sample for it; else its error's first line."""
    if isinstance(error, KeyError) and isinstance(results, dict) and error.args[0] not in results:
        return f'the sample has no {error}, which a step before, such as DecodeImage, must give'
    return first_line(error)
