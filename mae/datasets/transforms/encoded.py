"""Crops that are drawn in the worker and cut on the device, where cores are short."""

import random

import torch

from mae.datasets.transforms.base import Results, Size, Transform
from mae.datasets.transforms.crop import Oversize, RandomResizedCrop
from mae.datasets.transforms.decode import DecodeImage, decoding, orientation_of
from mae.datasets.transforms.flip import RandomFlip
from mae.datasets.transforms.image_file import open_image
from mae.datasets.transforms.jpeg import ADOBE, Frame, jpeg_frame, markers
from mae.datasets.transforms.pack import to_label
from mae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class EncodedCrop(Transform):
    """A whole pipeline: DecodeRandomResizedCrop, RandomFlip and PackInputs, run on the device.

    The worker only reads the file and draws crop and flip; the preprocessor decodes on the device,
    crops, resizes and flips. What is not a plain upright colour JPEG is decoded in the worker.

    Args:
        size: of the result in pixels, a number or (height, width).
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height.
        oversize: 'redraw' or 'clamp' sides longer than the image's: see `RandomResizedCrop`.
        flip_prob: probability of a horizontal flip, in [0, 1].
    """

    sets_size = True

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.2, 1.0),
        *,
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        oversize: Oversize = 'redraw',
        flip_prob: float = 0.5,
    ) -> None:
        self._decode = DecodeImage()
        self._crop = RandomResizedCrop(size, scale, ratio=ratio, oversize=oversize)
        self._flip = RandomFlip(flip_prob)

    def transform(self, results: Results) -> Results:
        """dict(inputs uint8 (bytes,), crop, label).

        `crop` is top, left, height, width, flip, and the output size; with height 0 `inputs` are
        the finished pixels, row by row, instead of a JPEG.

        Raises:
            DataError: the file is missing, too large, damaged or not an image; names the path.
        """
        label = to_label(results)
        frame = None
        if 'img' not in results:
            with decoding(results['img_path']):
                content = results['img_bytes'] = self._decode.read(results)
            frame = self._frame(content)
        if frame is None:
            img = self._flip(self._crop(self._decode(results)))['img']
            crop = [0, 0, 0, 0, 0, *self._crop.size]
            return {'inputs': img.permute(1, 2, 0).flatten(), 'crop': crop, 'label': label}
        box = self._crop.draw(frame.height, frame.width)
        flip = random.random() < self._flip.prob
        encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return {'inputs': encoded, 'crop': [*box, flip, *self._crop.size], 'label': label}

    def _frame(self, content: bytes) -> Frame | None:
        """The header of a JPEG that the device can decode as it is; None for everything else."""
        if plain := self._decode.plain_frame(content):
            return plain
        frame = jpeg_frame(content)
        if frame is None or frame.channels != 3 or ADOBE in markers(content):
            return None
        try:
            with open_image(content, ('JPEG',), self._decode.max_pixels) as image:
                return frame if orientation_of(image) == 1 else None
        except Exception:  # damaged: `DecodeImage` will say how
            return None
