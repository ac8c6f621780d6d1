"""Pictures of images as a model reconstructs them; the model is asked, not imported.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from mae.visualization.panels import Panel, reconstruction_panels

# What the pictures of normalised predictions must say.
_NOTES: Mapping[str, str] = {
    'true': 'Each hidden patch is shown with the mean and deviation of the true one: the model '
    'predicts neither.',
    'visible': 'Hidden patches are shown with the average mean and deviation of the visible ones: '
    'the model predicts neither.',
}


def why_no_pictures(model: Any) -> str:
    """Why a model's reconstructions cannot be shown; '' if they can."""
    if not hasattr(model, 'reconstruct'):
        return (
            f'a {type(model).__name__} does not reconstruct images: give the config of a '
            'pre-training'
        )
    if not hasattr(model.target, 'to_pixels'):
        return (
            f'a {type(model.target).__name__} has no pixels to show: model.reconstruct(images) '
            'gives its loss, pred and target'
        )
    return ''


def predicts_patch_stats(model: Any) -> bool:
    """Whether predictions have the mean and deviation of their patches: no normalised pixels."""
    return not getattr(model.target, 'norm_pix', False)


def model_panels(
    model: Any, images: Tensor, noise: Tensor | None = None, *, patch_stats: Sequence[str]
) -> list[Panel]:
    """Original, masked and reconstructed pictures.

    Args:
        model: has `data_preprocessor`, `encoder.patch_size`, `reconstruct(images, noise)` and
            `target.to_pixels(pred, images, ids)`.
        images: uint8 (B, C, H, W).
        noise: (B, L), the K smallest of each row are kept; by default the masker chooses.
        patch_stats: with normalised pixels, 'true' or 'visible', or both for two reconstructions.

    Raises:
        ValueError: the images have another shape than the model's, or neither 1 nor 3 channels.
    """
    preprocessor = model.data_preprocessor
    inputs = preprocessor({'inputs': images}, False)['inputs']
    output = model.reconstruct(inputs, noise=noise)
    ways: list[dict[str, str]] = [{'patch_stats': way} for way in patch_stats]
    if predicts_patch_stats(model):
        patch_stats, ways = [], [{}]
    first, *others = [
        reconstruction_panels(
            inputs,
            {
                **output,
                'pred': model.target.to_pixels(output['pred'], inputs, output['ids_hide'], **way),
            },
            patch_size=model.encoder.patch_size,
            mean=preprocessor.mean,
            std=preprocessor.std,
            note=_note(patch_stats),
        )
        for way in ways
    ]
    for second in others:
        first = [replace(a, other=b.reconstruction) for a, b in zip(first, second, strict=True)]
    return first


def _note(patch_stats: Sequence[str]) -> str:
    notes = [_NOTES[way] for way in patch_stats]
    if len(notes) < 2:
        return ''.join(notes)
    return f'Third picture: {notes[0]} Fourth picture: {notes[1]}'
