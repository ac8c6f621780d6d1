"""What a masked autoencoder sees and makes of it: original | masked | reconstruction.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, K kept, P = p*p*C values of a
patch, laid out (row, column, channel).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Pixels = NDArray[np.uint8]
PatchStats = Literal['true', 'visible']

# Grey levels of what is hidden and of the gaps between pictures.
_HIDDEN = 128
_GAP = 255

# What pictures of normalised predictions must say.
_NOTES: Mapping[PatchStats, str] = {
    'true': 'Each hidden patch is shown with the mean and deviation of the true one: the model '
    'predicts neither.',
    'visible': 'Hidden patches are shown with the average mean and deviation of the visible ones: '
    'the model predicts neither.',
}


@dataclass(frozen=True)
class Panel:
    """Pictures of one image, each uint8 (H, W) if it is grey, else (H, W, 3).

    Attributes:
        original: the image as the model got it.
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
    norm_pix: bool,
    eps: float = 1e-6,
    patch_stats: PatchStats = 'true',
) -> list[Panel]:
    """Panels of the result of `model.reconstruct(images)`.

    Args:
        images: normalised float (B, C, H, W), C = 1 or 3.
        output: `pred` (B, L-K, P) and `ids_hide` (B, L-K).
        patch_size: p.
        mean: of each channel in grey levels, C numbers.
        std: deviation of each channel in grey levels, C numbers.
        norm_pix: predictions are normalised within each patch, so the model says nothing of a
            patch's mean and deviation; the panels' note tells where these come from.
        eps: added to the variance of a patch by that normalisation.
        patch_stats: 'true' takes mean and deviation of each hidden patch from the image, as the
            authors' pictures do; 'visible' gives all hidden patches of an image the average ones
            of its visible patches. Without `norm_pix` it has no effect, and a warning says so.

    Raises:
        ValueError: neither 1 nor 3 channels, predictions that are not the pixels of patches, or
            other `patch_stats`.
    """
    if patch_stats not in get_args(PatchStats):
        raise ValueError(f"patch_stats must be 'true' or 'visible', not {patch_stats!r}")
    C, H, W = images.shape[1:]
    if C not in (1, 3):
        raise ValueError(f'only images of 1 or 3 channels can be shown, not of {C}')
    pred, ids_hide = output['pred'].float(), output['ids_hide']
    if pred.shape[-1] != patch_size**2 * C:
        raise ValueError(
            f'predictions of {pred.shape[-1]} values are not the pixels of patches of {C} x '
            f'{patch_size} x {patch_size}; only models that predict pixels can be shown'
        )
    patches = _patchify(images.float(), patch_size)  # B,L,P
    index = ids_hide[..., None].expand_as(pred)  # B,L-K,P
    if norm_pix:
        centre, scale = _statistics(patches, ids_hide, eps, patch_stats)
        pred = pred * scale + centre
    elif patch_stats != 'true':
        warnings.warn(
            f'patch_stats={patch_stats!r} has no effect: the model predicts plain pixels',
            stacklevel=2,
        )
    filled = _unpatchify(patches.scatter(1, index, pred), patch_size, (H, W))
    seen = _unpatchify(torch.ones_like(patches).scatter(1, index, 0.0), patch_size, (H, W)) > 0

    original = _to_pixels(images, mean, std)
    masked = torch.where(seen, original, _HIDDEN)
    result = torch.where(seen, original, _to_pixels(filled, mean, std))
    note = _NOTES[patch_stats] if norm_pix else ''
    return [
        Panel(_as_array(image), _as_array(seen_part), _as_array(filled_in), note=note)
        for image, seen_part, filled_in in zip(original, masked, result, strict=True)
    ]


def _statistics(
    patches: Tensor, ids_hide: Tensor, eps: float, patch_stats: PatchStats
) -> tuple[Tensor, Tensor]:
    """Mean and deviation to show hidden patches with, each broadcast to (B, L-K, 1)."""
    mean = patches.mean(dim=-1, keepdim=True)  # B,L,1
    std = (patches.var(dim=-1, keepdim=True) + eps).sqrt()  # B,L,1
    if patch_stats == 'true':
        return mean.gather(1, ids_hide[..., None]), std.gather(1, ids_hide[..., None])
    seen = torch.ones_like(mean).scatter(1, ids_hide[..., None], 0.0)  # B,L,1
    seen = seen / seen.sum(dim=1, keepdim=True)  # weights of an average over the visible
    return (mean * seen).sum(dim=1, keepdim=True), (std * seen).sum(dim=1, keepdim=True)


def contact_sheet(panels: Sequence[Panel], *, min_side: int = 96, gap: int = 8) -> Image.Image:
    """All panels in one picture, a row each, with their note below.

    Args:
        panels: of images of one size.
        min_side: smaller pictures are enlarged to at least this many pixels, without smoothing.
        gap: pixels between pictures.
    """
    height, width = panels[0].original.shape[:2]
    scale = max(1, -(-min_side // min(height, width)))
    height, width = height * scale, width * scale
    size = (len(panels[0].pictures) * (width + gap) + gap, len(panels) * (height + gap) + gap)
    sheet = Image.new('RGB', size, (_GAP, _GAP, _GAP))
    for row, panel in enumerate(panels):
        for column, pixels in enumerate(panel.pictures):
            picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (gap + column * (width + gap), gap + row * (height + gap)))
    return _with_note(sheet, panels[0].note, gap)


def _with_note(sheet: Image.Image, note: str, gap: int) -> Image.Image:
    """The sheet with a text below, in as many lines as it takes; as it is without one."""
    if not note:
        return sheet
    font = ImageFont.load_default(12)
    lines = ['']
    for word in note.split():
        longer = f'{lines[-1]} {word}'.strip()
        fits = font.getlength(longer) <= sheet.width - 2 * gap
        lines = [*lines[:-1], longer] if fits else [*lines, word]
    text = '\n'.join(lines).strip()
    draw = ImageDraw.Draw(sheet)
    bottom = draw.multiline_textbbox((gap, sheet.height), text, font=font)[3]
    noted = Image.new('RGB', (sheet.width, round(bottom) + gap), (_GAP, _GAP, _GAP))
    noted.paste(sheet)
    ImageDraw.Draw(noted).multiline_text((gap, sheet.height), text, fill=0, font=font)
    return noted


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


def _as_array(image: Tensor) -> Pixels:
    """uint8 (C, H, W) to (H, W) or (H, W, 3)."""
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return np.ascontiguousarray(pixels.cpu().numpy())
