"""Fitting weights in our names to other images, without a model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mae.models.layers.patches import adapt_patch_channels, resize_patch_weight
from mae.models.layers.pos_embed import describe_resampling, resample_pos_embed
from mae.utils.text import counted
from mae.zoo.formats.architecture import Architecture, architecture_of
from mae.zoo.formats.metadata import Facts


def resize(
    weights: Mapping[str, Tensor],
    facts: Facts,
    path: object,
    *,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    in_channels: int | None = None,
    pos_antialias: bool = True,
) -> tuple[dict[str, Tensor], Facts, list[str]]:
    """Weights for another image size, patch size or number of channels.

    Args:
        weights: in our names, whole.
        facts: metadata of the weights; the grid is taken as square without `grid_size`.
        path: where they came from, for messages.
        img_size: (height, width) in pixels, or one number for both; None keeps the grid of
            patches.
        patch_size: side of a patch in pixels.
        in_channels: channels of the images.
        pos_antialias: see `resample_pos_embed`.

    Returns:
        The weights, the facts and a line for each change.

    Raises:
        ValueError: a size is no positive whole number, the image is no whole number of patches, the
            old grid is unknown, or a decoder, which predicts patches, would have to predict others.
    """
    _require_sizes(img_size, patch_size, in_channels)
    found = architecture_of(weights, path)
    p, C = patch_size or found.patch_size, in_channels or found.in_channels
    fitted, lines = dict(weights), []
    if (p, C) != (found.patch_size, found.in_channels):
        if found.decoder:
            raise ValueError(
                f'the decoder of {path} predicts {found.patch_size}x{found.patch_size} patches of '
                f'{counted(found.in_channels, "channel")}; convert the encoder alone '
                '(encoder_only)'
            )
        name = 'encoder.patch_embed.proj.weight'
        fitted[name] = resize_patch_weight(adapt_patch_channels(weights[name], C), p)
        if found.in_channels != C:  # mean and deviation are of the old channels
            facts = {name: value for name, value in facts.items() if name not in ('mean', 'std')}
        lines.append(
            f'{name} fitted from {counted(found.in_channels, "channel")} and '
            f'{found.patch_size}x{found.patch_size} patches to {C} and {p}x{p}'
        )
    if img_size is None:
        return fitted, facts, lines
    grid, old = _new_grid(img_size, p), _old_grid(facts, found, path)
    for name in ('encoder.pos_embed', 'decoder.pos_embed'):
        if name in fitted:
            fitted[name] = resample_pos_embed(
                weights[name], grid, found.num_prefix_tokens, old, antialias=pos_antialias
            )
            lines.append(describe_resampling(name, weights[name], fitted[name], pos_antialias))
    return fitted, {**facts, 'grid_size': list(grid)}, lines


def _require_sizes(img_size: Any, patch_size: Any, in_channels: Any) -> None:
    if img_size is not None and not isinstance(img_size, int) and not _are_whole(img_size, 2):
        raise ValueError(f'the image size is two whole numbers, height and width, not {img_size!r}')
    for name, value in (('patch size', patch_size), ('number of channels', in_channels)):
        if value is not None and not (_are_whole([value], 1) and value > 0):
            raise ValueError(f'the {name} must be positive, not {value!r}')


def _new_grid(img_size: int | tuple[int, int], p: int) -> tuple[int, int]:
    """Rows and columns of patches of side p."""
    H, W = (img_size, img_size) if isinstance(img_size, int) else img_size
    if min(H, W) < 1 or H % p or W % p:
        raise ValueError(f'img_size {H}x{W} is no whole number of {p}x{p} patches')
    return H // p, W // p


def _old_grid(facts: Facts, found: Architecture, path: object) -> tuple[int, int] | None:
    """Rows and columns of the weights' positions; None is a square of them."""
    old = tuple(facts['grid_size']) if 'grid_size' in facts else None
    if old is None and math.isqrt(found.num_patches) ** 2 != found.num_patches:
        raise ValueError(
            f'nothing says which grid the {found.num_patches} patches of {path} form: give its '
            'config, or grid_size (rows, columns) among its facts'
        )
    if old is not None and math.prod(old) != found.num_patches:
        raise ValueError(f'{path} has {found.num_patches} patches, and grid_size is {old}')
    return old


def _are_whole(values: Any, count: int) -> bool:
    """Whether it is that many whole numbers."""
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(type(value) is int for value in values)
    )
