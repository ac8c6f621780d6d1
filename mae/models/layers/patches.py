"""Images to patches and back, and the projection of a patch to a token (paper section 3).

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, P = p*p*C values, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.shapes import check_shape


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into non-overlapping patches, row by row.

    Args:
        images: (B, C, H, W).
        patch_size: side p of a patch in pixels.

    Returns:
        (B, L, P); the values of a patch are laid out (row, column, channel).

    Raises:
        ValueError: not of four dimensions, or not a whole number of patches.
    """
    check_shape('images', images, 'B', 'C', 'H', 'W')
    B, C, H, W = images.shape
    p = patch_size
    if H % p or W % p:
        raise ValueError(f'an image of {H}x{W} pixels is not a whole number of {p}x{p} patches')
    x = images.reshape(B, C, H // p, p, W // p, p)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, p * p * C)


def unpatchify(patches: Tensor, patch_size: int, grid_size: tuple[int, int]) -> Tensor:
    """Put patches (B, L, P) back together: the inverse of `patchify`, (B, C, H, W)."""
    check_shape('patches', patches, 'B', 'L', 'P')
    B, L, P = patches.shape
    h, w = grid_size
    p = patch_size
    if h * w != L or P % (p * p):
        raise ValueError(f'{L} patches of {P} values do not fill a {h}x{w} grid of {p}x{p} patches')
    x = patches.reshape(B, h, w, p, p, P // (p * p))
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, h * p, w * p)


def resize_patch_weight(weight: Tensor, patch_size: int) -> Tensor:
    """Projection for patches of another size that gives enlarged images the same tokens.

    By the pseudo-inverse of the resizing, bicubic with antialiasing (Beyer et al. 2023,
    "FlexiViT", section 3.4), as in timm's `resample_patch_embed`.

    Args:
        weight: (D, C, p, p).
        patch_size: new side of a patch in pixels.
    """
    D, C, p, _ = weight.shape
    if p == patch_size:
        return weight
    size = (patch_size, patch_size)
    pixels = torch.eye(p * p, dtype=torch.float64).reshape(p * p, 1, p, p)
    resized = F.interpolate(pixels, size=size, mode='bicubic', antialias=True)
    matrix = torch.linalg.pinv(resized.flatten(1))  # (new*new, p*p)
    flat: Tensor = weight.double().reshape(D * C, p * p) @ matrix.T
    return flat.reshape(D, C, *size).to(weight.dtype)


def adapt_patch_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Projection for another number of channels that keeps the size of tokens (as timm's).

    One channel gets the sum of all; more get copies in turn, scaled by old over new.

    Args:
        weight: (D, C, p, p).
        in_channels: new number of channels.
    """
    C = weight.shape[1]
    if in_channels == C:
        return weight
    if in_channels == 1:
        weight = weight.float().sum(dim=1, keepdim=True).to(weight.dtype)
        return weight
    copies = weight.float().repeat(1, -(-in_channels // C), 1, 1)[:, :in_channels]
    return (copies * (C / in_channels)).to(weight.dtype)


class PatchEmbed(nn.Module):
    """Linear projection of patches, its weight kept in the shape of timm's convolution.

    Working on patches instead of images lets the encoder drop the hidden ones first.
    """

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch_size, stride=patch_size)
        # With the channels last in memory, `forward` reads the weight as a matrix without a copy.
        # A new parameter, because `Module.to` cannot swap tensors without values. `contiguous`
        # would keep the strides of a single channel, which those of its gradient differ from.
        weight = self.proj.weight.detach().to(memory_format=torch.channels_last)
        self.proj.weight = nn.Parameter(weight)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, K, P) to (B, K, D)."""
        weight = self.proj.weight.permute(0, 2, 3, 1).flatten(1)  # D,C,p,p -> D,P
        return F.linear(patches, weight, self.proj.bias)
