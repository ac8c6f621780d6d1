"""What `arch` and `img_size` of an encoder say, checked."""

from collections.abc import Mapping
from typing import Any

from mae.utils.vit_sizes import ARCHS


def shape_of(arch: str | Mapping[str, int]) -> Mapping[str, Any]:
    """`embed_dim`, `depth` and `num_heads` of a name, or of a dict with these keys.

    Raises:
        ValueError: unknown name, or a dict of other keys or of numbers below 1.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'encoder.arch must be one of {", ".join(ARCHS)}, not {arch!r}')
        return ARCHS[arch]
    if set(arch) != set(ARCHS['base']):
        keys = ', '.join(ARCHS['base'])
        raise ValueError(f'encoder.arch as a dict needs just the keys {keys}, not {sorted(arch)}')
    if min(arch.values()) < 1:
        raise ValueError(f'encoder.arch needs numbers of at least 1, not {dict(arch)}')
    return arch


def grid_of(img_size: tuple[int, ...], patch_size: int) -> tuple[int, int]:
    """(h, w) of the patches of an image of (H, W) pixels.

    Raises:
        ValueError: not a whole number of patches, or none.
    """
    height, width = img_size
    if min(img_size) < 1:
        raise ValueError(f'encoder.img_size must be at least 1, not {height}x{width}')
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(
            f'encoder.img_size={height}x{width} is not divisible by encoder.patch_size={patch_size}'
        )
    return height // patch_size, width // patch_size
