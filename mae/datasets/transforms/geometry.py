"""One move of everything that has a place in the image: pixels, label map, masks and boxes.

A transform draws its random numbers once and calls one of these functions, so that what belongs
together stays together. Pixels are resized bicubically or bilinearly with antialiasing, maps and
masks by the nearest pixel.

`results` may hold `img` uint8 or uint16 (C, H, W), `map` whole numbers (H, W), and `instances`: a
dict of `boxes` float (N, 4) in pixels (left, top, right, bottom) and, for masks, `masks` bool
(N, H, W) or `segmentations` as COCO stores them with the `placement` that they are rasterised by.
`original` is the size of the image before the first move.

Shapes: C channels, H W pixels, N instances.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mae.datasets.transforms.base import Results


@dataclass(frozen=True)
class Placement:
    """Where a point of the stored image lies now: x' = x_scale x + x_shift, y' likewise.

    Polygons are rasterised when the image has its final place: a hundred masks of the full image
    never exist.

    Attributes:
        height: of the image as it is now, in pixels.
        width: of the image as it is now, in pixels.
        y_scale: vertical enlargement.
        y_shift: in pixels, downwards.
        x_scale: horizontal enlargement; negative when the image is flipped.
        x_shift: in pixels, to the right.
    """

    height: int
    width: int
    y_scale: float = 1.0
    y_shift: float = 0.0
    x_scale: float = 1.0
    x_shift: float = 0.0

    @property
    def is_moved(self) -> bool:
        """Whether a point lies elsewhere than in the stored image."""
        return (self.y_scale, self.y_shift, self.x_scale, self.x_shift) != (1, 0, 1, 0)

    def cropped(self, top: int, left: int, height: int, width: int) -> 'Placement':
        """In a part of the image."""
        moved = replace(self, y_shift=self.y_shift - top, x_shift=self.x_shift - left)
        return replace(moved, height=height, width=width)

    def resized(self, height: int, width: int) -> 'Placement':
        """In the image at another size."""
        y, x = height / self.height, width / self.width
        return Placement(
            height, width, self.y_scale * y, self.y_shift * y, self.x_scale * x, self.x_shift * x
        )

    def flipped(self) -> 'Placement':
        """In the image mirrored left to right."""
        return replace(self, x_scale=-self.x_scale, x_shift=self.width - self.x_shift)


def is_annotated(results: Results) -> bool:
    """Whether a label map or objects belong to the image, so that they must move with it."""
    return 'map' in results or 'instances' in results


def note_move(results: Results, what: str) -> None:
    """Remember what has cut or turned the image before its map or objects are loaded."""
    for stored, loaded in (('map_path', 'map'), ('annotations', 'instances')):
        if stored in results and loaded not in results:
            results.setdefault('moved_by', what)


def check_unmoved(results: Results, name: str) -> None:
    """Refuse to load what belongs to an image that has been cut or turned already.

    Raises:
        ValueError: says by what.
    """
    if 'moved_by' in results:
        raise ValueError(
            f'{name} stands behind {results["moved_by"]}, which moved the image alone; put {name} '
            'before it'
        )


def refuse_annotated(results: Results, name: str) -> None:
    """Refuse a sample with label map or objects in a transform that moves the image alone.

    Raises:
        ValueError: there are some.
    """
    if is_annotated(results):
        raise ValueError(
            f'{name} moves the image, but not its label map or objects; take RandomResizedCrop, '
            'RandomCrop, ResizeInside, ResizeToFit, LargeScaleJitter or RandomFlip'
        )


def flip_sample(results: Results) -> None:
    """Mirror left to right."""
    note_move(results, 'a flip')
    width = results['img'].shape[-1]
    results['img'] = results['img'].flip(-1)
    if 'map' in results:
        results['map'] = results['map'].flip(-1)
    if 'instances' in results:
        instances = results['instances']
        left, top, right, bottom = instances['boxes'].unbind(1)
        instances['boxes'] = torch.stack([width - right, top, width - left, bottom], dim=1)
        if 'masks' in instances:
            instances['masks'] = instances['masks'].flip(-1)
        if 'placement' in instances:
            instances['placement'] = instances['placement'].flipped()


def crop_sample(results: Results, top: int, left: int, height: int, width: int) -> None:
    """Cut a part that lies within the image; boxes are cut at its border."""
    _keep_size(results)
    note_move(results, 'a crop')
    rows, columns = slice(top, top + height), slice(left, left + width)
    results['img'] = results['img'][:, rows, columns]
    if 'map' in results:
        results['map'] = results['map'][rows, columns]
    if 'instances' in results:
        instances = results['instances']
        shift = torch.tensor([left, top, left, top])
        largest = torch.tensor([width, height, width, height])
        boxes = instances['boxes'] - shift
        instances['boxes'] = boxes.clamp(min=0).minimum(largest.to(boxes.dtype))
        if 'masks' in instances:
            instances['masks'] = instances['masks'][:, rows, columns]
        if 'placement' in instances:
            instances['placement'] = instances['placement'].cropped(top, left, height, width)


def resize_sample(
    results: Results,
    height: int,
    width: int,
    interpolation: InterpolationMode = InterpolationMode.BICUBIC,
) -> None:
    """Resize to (height, width)."""
    _keep_size(results)
    old_height, old_width = results['img'].shape[-2:]
    if (old_height, old_width) == (height, width):
        return
    results['img'] = resize_pixels(results['img'], height, width, interpolation)
    if 'map' in results:
        results['map'] = _nearest(results['map'][None], height, width)[0]
    if 'instances' in results:
        instances = results['instances']
        y, x = height / old_height, width / old_width
        instances['boxes'] = instances['boxes'] * torch.tensor([x, y, x, y])
        if 'masks' in instances:
            instances['masks'] = _nearest(instances['masks'], height, width)
        if 'placement' in instances:
            instances['placement'] = instances['placement'].resized(height, width)


def resize_pixels(
    img: Tensor,
    height: int,
    width: int,
    interpolation: InterpolationMode = InterpolationMode.BICUBIC,
) -> Tensor:
    """(C, height, width) of uint8 or uint16 (C, H, W), with antialiasing.

    16 bits are resized in float32 and rounded: torch resizes 8 alone, and torchvision would let
    what is brighter than white wrap around to black.
    """
    is_deep = img.dtype == torch.uint16
    resized: Tensor = F.resize_image(
        img.float() if is_deep else img,
        [height, width],
        interpolation=interpolation,
        antialias=True,
    )
    return resized.round().clamp(0, 65535).to(torch.uint16) if is_deep else resized


def pad_sample(
    results: Results, height: int, width: int, *, fill: int = 0, map_fill: int = 255
) -> None:
    """Add a border at the bottom and on the right, up to (height, width).

    Args:
        results: with an image that is not larger.
        height: of the result, in pixels.
        width: of the result, in pixels.
        fill: value of the new pixels.
        map_fill: label of the new pixels, usually the ignored one.
    """
    _keep_size(results)
    old_height, old_width = results['img'].shape[-2:]
    border = (0, width - old_width, 0, height - old_height)
    if not any(border):
        return
    results['img'] = pad(results['img'], border, value=fill)
    if 'map' in results:
        results['map'] = pad(results['map'], border, value=map_fill)
    if 'instances' in results:
        instances = results['instances']
        if 'masks' in instances:
            instances['masks'] = pad(instances['masks'], border)
        if 'placement' in instances:
            instances['placement'] = instances['placement'].cropped(0, 0, height, width)


def boxes_of(masks: Tensor) -> Tensor:
    """The smallest boxes around masks (N, H, W), none of them empty: float32 (N, 4)."""
    if not len(masks):
        return torch.zeros(0, 4)
    edges = []
    for axis in (1, 2):  # columns, then rows
        hit = masks.any(dim=axis).float()  # (N, W), then (N, H)
        edges.append((hit.argmax(1), hit.shape[1] - hit.flip(1).argmax(1)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=1).float()


def _keep_size(results: Results) -> None:
    results.setdefault('original', tuple(results['img'].shape[-2:]))


def _nearest(maps: Tensor, height: int, width: int) -> Tensor:
    """(N, H, W) of any type, whose values are kept: the pixel that holds the new one's centre."""
    if not len(maps):
        return maps.new_zeros(0, height, width)
    values = interpolate(maps[None].float(), (height, width), mode='nearest-exact')[0]
    return values.to(maps.dtype)
