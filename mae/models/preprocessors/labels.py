"""Labels outside the head's classes, found on the CPU: a GPU would not name the sample."""

from collections.abc import Mapping

from torch import Tensor


def check_labels(data: Mapping[str, Tensor], num_classes: int) -> None:
    """Whether the head has a class for each label of a batch.

    Args:
        data: `labels` and, for the message, `ids`, int64 (B,), on the CPU.
        num_classes: N; labels must lie in 0..N-1.

    Raises:
        ValueError: it has none; names the first such sample.
    """
    labels = data['labels']
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        sample = int(data['ids'][first]) if 'ids' in data else first
        raise ValueError(
            f'sample {sample} has label {int(labels[first])}, but '
            f'model.head.num_classes={num_classes} takes labels 0..{num_classes - 1}'
        )
