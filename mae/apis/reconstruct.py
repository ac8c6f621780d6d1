"""Pictures of images as a pre-trained model reconstructs them.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.apis.images import read_images
from mae.models.targets.pixel import PatchStats
from mae.visualization.panels import Panel, reconstruction_panels

# What the pictures of normalised predictions must say.
_NOTES: Mapping[PatchStats, str] = {
    'true': 'Each hidden patch is shown with the mean and deviation of the true one: the model '
    'predicts neither.',
    'visible': 'Hidden patches are shown with the average mean and deviation of the visible ones: '
    'the model predicts neither.',
}


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
        images: uint8 or uint16 (B, C, H, W) of the model's size, or the path of an image file or
            several, from which the largest part of the model's shape is taken.
        noise: (B, L), the K smallest of each row are kept; by default the model's masker chooses.
        patch_stats: with normalised pixels, mean and deviation of a hidden patch: 'true' takes
            those of the image, as the authors' pictures do; 'visible' the average ones of the
            image's visible patches, which uses nothing that was hidden.
        bits: 8 or 16 of files, see `DecodeImage`.

    Raises:
        DataError: a file is missing or no image; names the path.
        ValueError: the model reconstructs nothing, or no pixels; the images are of another type,
            or they or the noise of another shape than the model's; other `patch_stats`.
    """
    if not hasattr(model, 'reconstruct'):
        raise ValueError(
            f'a {type(model).__name__} does not reconstruct images: give the config of a '
            'pre-training'
        )
    if patch_stats not in _NOTES:
        raise ValueError(f"patch_stats must be 'true' or 'visible', not {patch_stats!r}")
    encoder, target = model.encoder, model.target
    if not hasattr(target, 'to_pixels'):
        raise ValueError(
            f'a {type(target).__name__} has no pixels to show: model.reconstruct(images) gives its '
            'loss, pred and target'
        )
    if isinstance(images, str | Path):
        images = [images]
    if not isinstance(images, Tensor):
        images = read_images(images, encoder.in_channels, encoder.img_size, bits)
    if images.dtype not in (torch.uint8, torch.uint16):
        raise ValueError(f'images must be uint8 or uint16, not {images.dtype}')
    preprocessor = model.data_preprocessor
    inputs = preprocessor({'inputs': images}, False)['inputs']
    output = model.reconstruct(inputs, noise=noise)
    normalised = getattr(target, 'norm_pix', False)
    options = {'patch_stats': patch_stats} if normalised else {}
    pixels = target.to_pixels(output['pred'], inputs, output['ids_hide'], **options)
    return reconstruction_panels(
        inputs,
        {**output, 'pred': pixels},
        patch_size=encoder.patch_size,
        mean=preprocessor.mean,
        std=preprocessor.std,
        note=_NOTES[patch_stats] if normalised else '',
    )
