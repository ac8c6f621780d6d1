"""Convolution, norm and activation; a norm over the channels of maps.

Shapes: B images, C channels, H W pixels of a map.
"""

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal['batch', 'channels', 'groups', 'none']


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def norm_of(kind: Norm, channels: int) -> nn.Module:
    """A norm of maps by name.

    Args:
        kind: 'batch' statistics (synchronised over processes with `sync_bn='torch'` in the config),
            each pixel's 'channels', 32 'groups', or 'none'.
        channels: C.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == 'batch':
        return nn.BatchNorm2d(channels)
    if kind == 'channels':
        return ChannelNorm(channels)
    if kind == 'groups':
        return nn.GroupNorm(32 if channels % 32 == 0 else 1, channels)
    if kind == 'none':
        return nn.Identity()
    raise ValueError(f"norm must be 'batch', 'channels', 'groups' or 'none', not {kind!r}")


class ConvNorm(nn.Sequential):
    """Convolution that keeps height and width, norm, and a ReLU; a bias only without a norm."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, norm: Norm, *, relu: bool = True
    ) -> None:
        layers = [
            nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=norm == 'none'),
            norm_of(norm, channels),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class Halve(nn.Module):
    """The largest of each 2x2, without the rest of an odd side; a side of 1 stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H/2, W/2)."""
        return F.max_pool2d(x, [min(2, side) for side in x.shape[-2:]])


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse widths and numbers below 1, which torch would fail at in a forward pass.

    Args:
        sizes: numbers by keyword of the part that has them.

    Raises:
        ValueError: names the first one.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f'{name} must be at least 1, not {size}')


def init_convs(module: nn.Module) -> None:
    """Start every convolution as Kaiming normal over what leaves it, every norm at 1 and 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            layer.reset_parameters()
