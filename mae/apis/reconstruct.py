"""Pictures of what a pre-trained model makes of images.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.apis.images import fit_image
from mae.datasets.transforms import DecodeImage
from mae.visualization.panels import Panel, PatchStats, reconstruction_panels


@torch.inference_mode()
def reconstruct(
    model: Any,
    images: Tensor | Sequence[str | Path],
    noise: Tensor | None = None,
    *,
    patch_stats: PatchStats = 'true',
) -> list[Panel]:
    """Original, masked and reconstructed pictures.

    A model trained on normalised pixels predicts each patch without its mean and deviation, so
    these come from elsewhere; each panel's `note` tells from where.

    Args:
        model: an `MAE`, from `init_model`.
        images: uint8 (B, C, H, W) of the model's size, or paths of image files, from which the
            largest part of the model's shape is taken.
        noise: (B, L), the K smallest of each row are kept; by default the model's masker chooses.
        patch_stats: with normalised pixels, mean and deviation of a hidden patch: 'true' takes
            those of the image, as the authors' pictures do; 'visible' the average ones of the
            image's visible patches, which is all that the model could know.

    Raises:
        DataError: a file is missing or no image; names the path.
        ValueError: the model reconstructs nothing, or no pixels; the images are not uint8; other
            `patch_stats`.
    """
    if not hasattr(model, 'reconstruct'):
        raise ValueError(
            f'a {type(model).__name__} does not reconstruct images: give the config of a '
            'pre-training'
        )
    encoder, target = model.encoder, model.target
    if not isinstance(images, Tensor):
        images = read_images(images, encoder.in_channels, encoder.img_size)
    if images.dtype != torch.uint8:
        raise ValueError(f'images must be uint8, not {images.dtype}')
    preprocessor = model.data_preprocessor
    inputs = preprocessor({'inputs': images}, False)['inputs']
    return reconstruction_panels(
        inputs,
        model.reconstruct(inputs, noise=noise),
        patch_size=encoder.patch_size,
        mean=preprocessor.mean,
        std=preprocessor.std,
        norm_pix=target.norm_pix,
        eps=target.eps,
        patch_stats=patch_stats,
    )


def read_images(paths: Sequence[str | Path], channels: int, size: tuple[int, int]) -> Tensor:
    """Decode files to uint8 (B, C, H, W): the largest centred part of that shape, resized.

    Raises:
        DataError: a file is missing or no image; names the path.
        ValueError: there are no paths.
    """
    if not paths:
        raise ValueError('no images given')
    decode = DecodeImage(channels)
    return torch.stack([fit_image(decode({'img_path': str(path)})['img'], size) for path in paths])
