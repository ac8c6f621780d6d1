"""Cross entropy with hard or soft targets (paper table 9).

Shapes: B images, N classes, G members of a grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy; labels are smoothed unless they are already soft.

    Args:
        label_smoothing: share of the target spread evenly over the classes. Mixup and cutmix
            smooth their own targets, which are taken as they are.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, N) and labels, int64 (B,) or soft (B, N), to a scalar.

        Logits (B, G, N), of a grid of classifiers trained side by side, give the sum of their
        losses, so that the gradient of each is what it would be alone.
        """
        if logits.ndim == 3:
            return torch.stack([self(member, labels) for member in logits.unbind(1)]).sum()
        smoothing = 0.0 if labels.is_floating_point() else self.label_smoothing
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
