"""JPEGs that are decoded on the device: the worker reads the file and draws the crop.

A config chooses this way by naming three parts: `EncodedCrop` as the whole pipeline,
`collate_encoded` as its `collate_fn`, and `EncodedPreprocessor` as `model.preprocessor`.

Shapes: B images, C channels, H W pixels, S bytes of all files of a batch.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch

from mae.datasets.collate import collate_facts, column
from mae.datasets.transforms.base import Results, Size, Transform
from mae.datasets.transforms.crop import Oversize, RandomResizedCrop
from mae.datasets.transforms.decode import DecodeImage, decoding, orientation_of
from mae.datasets.transforms.flip import RandomFlip
from mae.datasets.transforms.geometry import refuse_annotated
from mae.datasets.transforms.image_file import open_image
from mae.datasets.transforms.jpeg import ADOBE, Frame, jpeg_frame, markers
from mae.datasets.transforms.pack import to_label
from mae.registry import FUNCTIONS, TRANSFORMS
from mae.utils.errors import DataError


@TRANSFORMS.register_module()
class EncodedCrop(Transform):
    """A whole pipeline: what DecodeRandomResizedCrop, RandomFlip and PackInputs do, on the device.

    The worker reads the file and draws crop and flip; `EncodedPreprocessor` decodes, crops, resizes
    and flips. What is not an upright colour JPEG is decoded and cut in the worker.

    Args:
        size: side of the result in pixels, or (height, width).
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
        refuse_annotated(results, 'EncodedCrop')
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
        except Exception:  # damaged: the error of `DecodeImage` will name the reason
            return None


def collate_encoded(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """dict(encoded uint8 (S,), sizes (B,), crops (B, 7)), and the facts of `collate`.

    `encoded` holds all files of the batch end to end, `sizes` how many bytes are of each.

    Raises:
        DataError: the samples are not those of `EncodedCrop`.
    """
    if 'crop' not in samples[0]:
        raise DataError(
            '`collate_encoded` takes the samples of EncodedCrop: make it the only transform of '
            "dataset.pipeline, or set collate_fn=dict(type='collate')"
        )
    files = [sample['inputs'] for sample in samples]
    return {
        'encoded': torch.cat(files),
        'sizes': torch.tensor([len(content) for content in files]),
        'crops': column(samples, 'crop'),
        **collate_facts(samples),
    }


FUNCTIONS.register_module(module=collate_encoded)
