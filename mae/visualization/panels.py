"""Pictures of an image, its visible patches and its reconstruction.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, K kept, P = p*p*C values of a
patch, laid out (row, column, channel).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]

HIDDEN = 128  # grey level of hidden patches


@dataclass(frozen=True)
class Panel:
    """Pictures of one image, each uint8 (H, W) if it is grey, else (H, W, 3).

    Attributes:
        original: the image as the model received it.
        masked: the same with the hidden patches greyed out.
        reconstruction: visible patches as they were, hidden ones as predicted.
        other: a second reconstruction to compare with, or None.
        note: what in the reconstruction does not come from the model; empty if all does.
    """

    original: Pixels
    masked: Pixels
    reconstruction: Pixels
    other: Pixels | None = None
    note: str = ''

    @property
    def pictures(self) -> tuple[Pixels, ...]:
        three = (self.original, self.masked, self.reconstruction)
        return three if self.other is None else (*three, self.other)


def reconstruction_panels(
    images: Tensor,
    output: Mapping[str, Tensor],
    *,
    patch_size: int,
    mean: Tensor,
    std: Tensor,
    note: str = '',
) -> list[Panel]:
    """Panels of the result of `model.reconstruct(images)`.

    Args:
        images: normalised float (B, C, H, W), C = 1 or 3.
        output: `pred` (B, L-K, P), values of normalised images, and `ids_hide` (B, L-K).
        patch_size: p, in pixels.
        mean: mean of each channel in grey levels, C numbers.
        std: standard deviation of each channel in grey levels, C numbers.
        note: what in the predictions does not come from the model, for the pictures' caption.

    Raises:
        ValueError: neither 1 nor 3 channels, or predictions that are not the pixels of patches.
    """
    C, H, W = images.shape[1:]
    _require_colours(C)
    pred, ids_hide = output['pred'].float(), output['ids_hide']
    if pred.shape[-1] != patch_size**2 * C:
        raise ValueError(
            f'predictions of {pred.shape[-1]} values are not the pixels of patches of {C} x '
            f'{patch_size} x {patch_size}; only models that predict pixels can be shown'
        )
    patches = _patchify(images.float(), patch_size)  # B,L,P
    index = ids_hide[..., None].expand_as(pred)  # B,L-K,P
    filled = _unpatchify(patches.scatter(1, index, pred), patch_size, (H, W))
    seen = _unpatchify(torch.ones_like(patches).scatter(1, index, 0.0), patch_size, (H, W)) > 0

    original = _to_pixels(images, mean, std)
    masked = torch.where(seen, original, HIDDEN)
    result = torch.where(seen, original, _to_pixels(filled, mean, std))
    return [
        Panel(as_pixels(image), as_pixels(seen_part), as_pixels(filled_in), note=note)
        for image, seen_part, filled_in in zip(original, masked, result, strict=True)
    ]


def as_pixels(image: Tensor) -> Pixels:
    """An image to be shown: (H, W) if it is grey, else (H, W, 3).

    Args:
        image: (C, H, W), uint8, or uint16, of which the upper 8 bits are shown.

    Raises:
        ValueError: neither 1 nor 3 channels.
    """
    _require_colours(len(image))
    pixels = image.cpu().numpy()
    pixels = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    upper = pixels >> 8 if pixels.dtype == np.uint16 else pixels
    return np.ascontiguousarray(upper, np.uint8)


def _require_colours(channels: int) -> None:
    if channels not in (1, 3):
        raise ValueError(f'only images of 1 or 3 channels can be shown, not of {channels}')


def plain_sheet(panels: Sequence[Panel]) -> Pixels:
    """All pictures of all panels without gaps, a row each: to keep and to cut apart again."""
    return np.concatenate([np.concatenate(panel.pictures, axis=1) for panel in panels])


def cut(sheet: Pixels, rows: int, columns: int) -> list[list[Pixels]]:
    """The pictures of a plain sheet by row and column."""
    height, width = sheet.shape[0] // rows, sheet.shape[1] // columns
    return [
        [sheet[r * height :, c * width :][:height, :width] for c in range(columns)]
        for r in range(rows)
    ]


def _patchify(images: Tensor, p: int) -> Tensor:
    """(B, C, H, W) to (B, L, P)."""
    B, C, H, W = images.shape
    cells = images.reshape(B, C, H // p, p, W // p, p)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, p * p * C)


def _unpatchify(patches: Tensor, p: int, size: tuple[int, int]) -> Tensor:
    """(B, L, P) to (B, C, H, W)."""
    cells = patches.reshape(len(patches), size[0] // p, size[1] // p, p, p, -1)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, *size)


def _to_pixels(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalised float to uint8, same shape."""
    levels = images.float() * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    return levels.round().clamp(0, 255).to(torch.uint8)
