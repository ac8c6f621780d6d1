"""UperNet's head over four levels (Xiao et al. 2018, "Unified perceptual parsing").

Shapes: B images, C channels, H W pixels of a level, N classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.conv import ConvNorm, Norm, check_sizes, init_convs
from mae.registry import MODELS


@MODELS.register_module()
class UPerHead(nn.Module):
    """Pyramid pooling on the coarsest level, a feature pyramid, and all levels fused.

    Args:
        num_classes: N.
        width: channels within the head.
        pool_sizes: sides of the grids that the coarsest level is pooled to.
        dropout: share of channels dropped before the last convolution.
        norm: see `mae.models.layers.conv.norm_of`.
        channels: of each level, from the finest, which the neck states.

    Raises:
        ValueError: fewer than one class, channel or side, or a share outside [0, 1).
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 512,
        pool_sizes: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
        norm: Norm = 'batch',
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        if num_classes < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f'head.num_classes must be at least 1 and head.dropout in [0, 1), not '
                f'{num_classes} and {dropout}'
            )
        check_sizes({'width': width, 'pool_sizes': min(pool_sizes, default=1)})
        self.num_classes = num_classes
        self.norm = norm
        self.pool_sizes = tuple(pool_sizes)
        last = channels[-1]
        self.pooled = nn.ModuleList(ConvNorm(last, width, 1, norm) for _ in pool_sizes)
        self.bottleneck = ConvNorm(last + len(self.pool_sizes) * width, width, 3, norm)
        self.laterals = nn.ModuleList(ConvNorm(C, width, 1, norm) for C in channels[:-1])
        self.smooth = nn.ModuleList(ConvNorm(width, width, 3, norm) for _ in channels[:-1])
        self.fuse = ConvNorm(len(channels) * width, width, 3, norm)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def init_weights(self) -> None:
        """Kaiming normal, the last convolution nearly at zero."""
        init_convs(self)
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, H, W), the finest first, to logits (B, N, H, W) of the finest."""
        tops = [lateral(x) for lateral, x in zip(self.laterals, levels[:-1], strict=True)]
        tops.append(self._pool(levels[-1]))
        for n in range(len(tops) - 1, 0, -1):
            tops[n - 1] = tops[n - 1] + _resize(tops[n], tops[n - 1])
        outs = [smooth(x) for smooth, x in zip(self.smooth, tops[:-1], strict=True)] + tops[-1:]
        fused = self.fuse(torch.cat([_resize(x, outs[0]) for x in outs], dim=1))
        logits: Tensor = self.classify(self.dropout(fused))
        return logits

    def _check_batch(self, x: Tensor) -> None:
        """A level that is pooled to one value has no statistics in a batch of one image."""
        has_statistics = self.norm != 'batch' or 1 not in self.pool_sizes or len(x) > 1
        if self.training and not has_statistics and not self._is_synchronised():
            raise ValueError(
                "head.norm='batch' needs two images at once on each device, and a step or the "
                'last part of one has a single image: change train_dataloader.batch_size, or set '
                "head.norm='groups'"
            )

    def _is_synchronised(self) -> bool:
        return any(isinstance(module, nn.SyncBatchNorm) for module in self.pooled.modules())

    def _pool(self, x: Tensor) -> Tensor:
        self._check_batch(x)
        grids = [
            _resize(conv(F.adaptive_avg_pool2d(x, size)), x)
            for conv, size in zip(self.pooled, self.pool_sizes, strict=True)
        ]
        out: Tensor = self.bottleneck(torch.cat([x, *grids], dim=1))
        return out


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=False)
