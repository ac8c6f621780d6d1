"""Decoding of only those rows of an image that its crop needs."""

from typing import Any

from torch import Tensor

from mae.datasets.transforms.base import Results, Size
from mae.datasets.transforms.crop import Box, Oversize, RandomResizedCrop
from mae.datasets.transforms.decode import DecodeImage, decoding
from mae.datasets.transforms.geometry import note_move, refuse_annotated
from mae.datasets.transforms.jpeg import decode_upper_rows
from mae.registry import TRANSFORMS


@TRANSFORMS.register_module()
class DecodeRandomResizedCrop(RandomResizedCrop):
    """`DecodeImage` and `RandomResizedCrop` in one: the same crop, the same pixels, faster.

    Of sequential upright RGB JPEGs, the rows below the crop are not decoded; of `.npy` files, what
    lies outside of it is not copied.

    Args:
        size: side of the result in pixels, or (height, width).
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height.
        oversize: 'redraw' or 'clamp' sides longer than the image's: see `RandomResizedCrop`.
        decode: config of `DecodeImage`, for other than its defaults.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.2, 1.0),
        *,
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        oversize: Oversize = 'redraw',
        decode: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(size, scale, ratio=ratio, oversize=oversize)
        self.decode: DecodeImage = TRANSFORMS.build(decode or {'type': 'DecodeImage'})

    def transform(self, results: Results) -> Results:
        """Adds `img`.

        Raises:
            DataError: the file is missing, too large, damaged or not an image; names the path.
            ValueError: a label map or objects are loaded already; `DecodeImage` must come first.
        """
        if 'img' in results:
            return super().transform(self.decode(results))
        refuse_annotated(results, 'DecodeRandomResizedCrop of a file')
        note_move(results, 'a crop')
        with decoding(results['img_path']):
            part = self._decode(self.decode.read(results))
        results['img'] = self.cut(*part)
        return results

    def _decode(self, data: bytes) -> tuple[Tensor, Box]:
        """As much of an encoded image as its crop needs, and where in it the crop is."""
        if frame := self.decode.plain_frame(data):
            box = self.draw(frame.height, frame.width)
            return decode_upper_rows(data, frame, box.top + box.height), box
        if (pixels := self.decode.array(data)) is not None and pixels.size:
            top, left, height, width = self.draw(*pixels.shape[:2])
            crop = self.decode.convert(pixels[top : top + height, left : left + width])
            return crop, Box(0, 0, height, width)
        img = self.decode.decode(data)
        return img, self.draw(*img.shape[-2:])
