"""Pictures of images as a pre-trained model reconstructs them.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from mae.apis.images import read_images
from mae.models.targets.pixel import PatchStats
from mae.visualization.model_panels import model_panels, why_no_pictures
from mae.visualization.panels import Panel
from mae.visualization.sheets import contact_sheet


@torch.inference_mode()
def reconstruct(
    model: Any,
    images: Tensor | str | Path | Sequence[str | Path],
    noise: Tensor | None = None,
    *,
    patch_stats: PatchStats = 'true',
    bits: int = 8,
) -> list[Panel]:
    """Original, masked and reconstructed pictures.

    A model trained on normalised pixels predicts each patch without its mean and deviation, so
    these come from elsewhere; each panel's `note` says from where.

    Args:
        model: an `MAE`, from `init_model`.
        images: uint8 or uint16 (B, C, H, W) of the model's size, or paths, one or several, of image
            files or of folders of at most 64, from which the largest part of the model's shape is
            taken.
        noise: (B, L), the K smallest of each row are kept; by default the model's masker chooses.
        patch_stats: with normalised pixels, mean and deviation of a hidden patch: 'true' takes
            those of the image, as the authors' pictures do; 'visible' the average ones of the
            image's visible patches, which uses nothing that was hidden.
        bits: 8 or 16 of files, see `DecodeImage`.

    Raises:
        DataError: a file is missing or no image, or a folder holds none or too many; names the
            path.
        ValueError: the model reconstructs nothing, or no pixels; the images are of another type,
            or they or the noise of another shape than the model's; other `patch_stats`.
    """
    if patch_stats not in get_args(PatchStats):
        raise ValueError(f"patch_stats must be 'true' or 'visible', not {patch_stats!r}")
    if why := why_no_pictures(model):
        raise ValueError(why)
    encoder = model.encoder
    if isinstance(images, str | Path):
        images = [images]
    if not isinstance(images, Tensor):
        images = read_images(images, encoder.in_channels, encoder.img_size, bits)
    if images.dtype not in (torch.uint8, torch.uint16):
        raise ValueError(f'images must be uint8 or uint16, not {images.dtype}')
    return model_panels(model, images, noise, patch_stats=[patch_stats])


def draw_reconstructions(
    model: Any,
    images: Tensor | str | Path | Sequence[str | Path],
    noise: Tensor | None = None,
    *,
    patch_stats: PatchStats = 'true',
    bits: int = 8,
) -> Image.Image:
    """The pictures of `reconstruct` as one: a row of original, masked and reconstructed each.

    Below them stands what in the reconstructions does not come from the model.

    Args:
        model: as for `reconstruct`, likewise the others.
        images: as there.
        noise: as there.
        patch_stats: as there.
        bits: as there.

    Raises:
        DataError: as `reconstruct`.
        ValueError: as `reconstruct`.
    """
    return contact_sheet(reconstruct(model, images, noise, patch_stats=patch_stats, bits=bits))
