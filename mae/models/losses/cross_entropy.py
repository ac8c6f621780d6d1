"""Cross entropy with hard or soft targets (paper table 9).

Shapes: B images, N classes, G members of a grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.shapes import check_range, check_shape
from mae.registry import MODELS

_NONE = -(2**31)  # torch ignores labels of -100 unless `ignore_index` is another number


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy; labels are smoothed unless they are already soft.

    Args:
        label_smoothing: share of the target spread evenly over the classes. Mixup and cutmix
            smooth their own targets, which are taken as they are.

    Raises:
        ValueError: `label_smoothing` is outside [0, 1].
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f'loss.label_smoothing must lie in 0..1, not {label_smoothing:g}')
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, N) and labels, int64 (B,) or soft (B, N), to a scalar.

        Logits (B, G, N), of a grid of classifiers trained side by side, give the sum of their
        losses, so that the gradient of each is what it would be alone.

        Raises:
            ValueError: labels of another number, type or, on a CPU, range.
        """
        if isinstance(logits, Tensor) and logits.ndim == 3:
            return torch.stack([self(member, labels) for member in logits.unbind(1)]).sum()
        check_shape('logits', logits, 'B', 'N')
        B, N = logits.shape
        soft = isinstance(labels, Tensor) and labels.is_floating_point()
        check_shape('labels', labels, *((B, N) if soft else (B,)))
        if not soft and labels.dtype != torch.int64:
            raise ValueError(f'labels must be {torch.int64} or soft, not {labels.dtype}')
        smoothing = 0.0 if soft else self.label_smoothing
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        try:
            return F.cross_entropy(logits, labels, ignore_index=_NONE, label_smoothing=smoothing)
        except IndexError:  # only a CPU checks the range of labels
            check_range('labels', labels, N)
            raise
