"""Accuracy by the reassessed labels of ImageNet's validation images (Beyer et al., 2006.07159).

Shapes: B images, N classes, M images of the validation set, K labels of an image at most.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mae.evaluation.accuracy import Accuracy, known_and_finite
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError

_NUM_CLASSES = 1000
_NUM_IMAGES = 50_000  # of the validation set


@METRICS.register_module()
class RealAccuracy(Accuracy):
    """Share of images, in percent, whose largest logit is one of their reassessed labels.

    Images without any are left out. A tie with a class that is no label counts as no hit.

    An image is known by the number in its file's name, not by its place: the source needs
    `file_numbers=True`, see `ImageFolder`.

    Args:
        labels: JSON file of lists of labels, number n (from 1) of `ILSVRC2012_val_%08d`; None takes
            the published ones, which timm ships.

    Raises:
        DataError: there is no such file, or it has another content.
    """

    _why_without_logit = 'there is no list of labels for the number in their file name'

    def __init__(self, labels: str | None = None) -> None:
        super().__init__(1, num_classes=_NUM_CLASSES)
        self._lists = _table(_published() if labels is None else _read(Path(labels)))  # M,K

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Count the hits of a batch: `logits` (B, N), and its `file_numbers` (B,).

        Raises:
            ConfigError: the model is no classifier of 1000 classes, or the batch has no numbers.
            ValueError: logits or labels have other shapes.
        """
        for sample in data_samples:
            logits, labels = self.read(sample)
            numbers = (data_batch or {}).get('file_numbers')
            if numbers is None:
                raise ConfigError(
                    'RealAccuracy needs the number of each file: set file_numbers=True in the '
                    'source, an ImageFolder'
                )
            place = numbers.to(logits.device, non_blocking=True) - 1
            known = (place >= 0) & (place < len(self._lists))
            self._lists = self._lists.to(logits.device)  # copied once
            lists = self._lists[place.clamp(0, len(self._lists) - 1)].long()  # B,K
            self.add(_count(logits, labels, lists, known), logits.shape[1])

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            `top1` in percent, `num_samples` that have labels, and `num_left_out`.
        """
        counts = self.reduced()
        self.require_sound(counts[2:])
        hits, left_out, _, _, total = counts.tolist()
        if total == left_out:
            raise DataError('there is nothing to evaluate: no image has a reassessed label')
        counted = total - left_out
        return {'top1': 100 * hits / counted, 'num_samples': counted, 'num_left_out': left_out}


def _count(logits: Tensor, labels: Tensor, lists: Tensor, known: Tensor) -> Tensor:
    """float64 (5,): hits, images without a label, of unknown number, of bad logits, all."""
    is_label = torch.zeros(len(logits), logits.shape[1] + 1, dtype=torch.bool, device=logits.device)
    is_label = is_label.scatter_(1, lists, value=True)[:, :-1]  # B,N: the last pads the lists
    best = logits.masked_fill(~is_label, -torch.inf).amax(1)
    rest = logits.masked_fill(is_label, -torch.inf).amax(1)
    finite = known_and_finite(logits, labels)[1]
    empty = known & ~is_label.any(1)
    hits = known & finite & (best > rest)
    columns = [hits, empty, ~known, ~finite, torch.ones_like(known)]
    return torch.stack(columns).sum(1).double()


def _table(lists: Sequence[Sequence[int]]) -> Tensor:
    """Lists of labels as int16 (M, K), padded with N."""
    rows = [torch.tensor(labels, dtype=torch.int16) for labels in lists]
    return pad_sequence(rows, batch_first=True, padding_value=_NUM_CLASSES)


def _published() -> list[list[int]]:
    from timm.data.real_labels import RealLabelsImagenet

    return list(RealLabelsImagenet([''] * _NUM_IMAGES).real_labels.values())


def _read(path: Path) -> list[list[int]]:
    try:
        lists = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f'{path}: {error.strerror}; expected the JSON file of ReaL') from error
    except ValueError as error:
        raise DataError(f'{path}: no JSON file: {error}') from error
    if not (isinstance(lists, list) and lists and all(map(_is_labels, lists))):
        raise DataError(f'{path}: expected a list of lists of labels 0..{_NUM_CLASSES - 1}')
    return lists


def _is_labels(row: object) -> bool:
    return isinstance(row, list) and all(type(n) is int and 0 <= n < _NUM_CLASSES for n in row)
