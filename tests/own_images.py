"""Small folders of images of all sorts, for tests of what looks at folders."""

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def noise(height, width, channels=3, seed=0, dtype=np.uint8):
    shape = (height, width, channels) if channels > 1 else (height, width)
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


def colours(folder, number, height=20, width=24):
    """PNGs of noise in colour, of names that sort in their order."""
    for index in range(number):
        save(folder / f'{index:03}.png', noise(height, width, seed=index))
    return folder


def turned():
    """EXIF that turns an image by a quarter."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif
