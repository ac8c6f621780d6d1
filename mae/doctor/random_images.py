"""Images to examine a config with where its own are missing."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mae.registry import DATASETS

_DIFFERENT = 32
_COARSE = (6, 8)  # of which a picture is enlarged, so that it is about as large as a photograph


@DATASETS.register_module()
class RandomImages:
    """Pictures of random colours, functions of their number.

    Args:
        number: length of the dataset.
        num_classes: labels are 0..num_classes - 1, in turn; 0 gives -1.
        size: (height, width) in pixels.
        channels: of images in memory; encoded ones have three colours.
        encoded: give JPEG files, for a pipeline that decodes; else arrays.
    """

    def __init__(
        self,
        number: int,
        *,
        num_classes: int = 0,
        size: tuple[int, int] = (375, 500),
        channels: int = 3,
        encoded: bool = True,
    ) -> None:
        self._number = number
        self._num_classes = num_classes
        draw = np.random.default_rng(0)
        pictures = [_picture(draw, size, 3 if encoded else channels) for _ in range(_DIFFERENT)]
        self._key = 'img_bytes' if encoded else 'img'
        self._pictures = [_jpeg(each) if encoded else each for each in pictures]
        self.metainfo: dict[str, Any] = {}

    def __len__(self) -> int:
        return self._number

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, gt_label int), and `img_bytes` or `img`."""
        label = index % self._num_classes if self._num_classes else -1
        picture = self._pictures[index % _DIFFERENT]
        return {'img_path': f'random image {index}', 'gt_label': label, self._key: picture}


def _picture(draw: np.random.Generator, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """uint8 (H, W, C): coarse random colours, enlarged, under fine noise."""
    planes = []
    for _ in range(channels):
        coarse = Image.fromarray(draw.integers(0, 256, _COARSE, dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.int16)
        planes.append(np.clip(smooth + draw.integers(-8, 9, size), 0, 255).astype(np.uint8))
    return np.stack(planes, axis=-1)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', quality=90)
    return buffer.getvalue()
