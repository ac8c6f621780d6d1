"""Photographs to read: crops of those that scikit-learn and scikit-image bring along."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 500, 375  # ImageNet's commonest
_QUALITY = 90
_SKIMAGE = ('astronaut', 'coffee', 'rocket')  # what its wheel holds, in colour and large enough


def write_photos(folder: Path, number: int = 256) -> int:
    """Write `number` different JPEG files of 500x375 pixels into `folder/photos/`.

    Returns:
        Their mean size in bytes.
    """
    target = folder / 'photos'
    target.mkdir(parents=True)
    sources = _sources()
    draw = np.random.default_rng(0)
    for index in range(number):
        source = sources[index % len(sources)]
        top = draw.integers(source.shape[0] - HEIGHT + 1)
        left = draw.integers(source.shape[1] - WIDTH + 1)
        part = source[top : top + HEIGHT, left : left + WIDTH]
        if index // len(sources) % 2:
            part = part[:, ::-1]
        image = Image.fromarray(np.ascontiguousarray(part))
        image.save(target / f'{index:05d}.jpg', quality=_QUALITY)
    sizes = [path.stat().st_size for path in target.iterdir()]
    return sum(sizes) // len(sizes)


def _sources() -> list[NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    found = list(load_sample_images().images)
    try:
        from skimage import data
    except ImportError:  # only the tests need scikit-image
        return found
    return found + [getattr(data, name)() for name in _SKIMAGE]
