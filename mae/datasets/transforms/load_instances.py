"""Objects of an image: from annotations to boxes and masks.

Shapes: N objects, H W pixels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mae.datasets.transforms.base import Results, Transform
from mae.datasets.transforms.geometry import Placement, check_unmoved
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError
from mae.utils.run_lengths import run_lengths


@TRANSFORMS.register_module()
class LoadInstances(Transform):
    """Makes `instances` of the source's `annotations`.

    What stands before it in the pipeline moves the image alone: behind a resize, boxes and masks
    are those of the file, as evaluation at the original size needs them. Masks are rasterised at
    the end, by `PackDense`, when the image has its final place. A polygon of less than three points
    has no inside and is left out; an object without any pixel is dropped.

    Args:
        with_masks: False leaves the masks out, for detectors of boxes alone.
    """

    is_random = False
    keeps_size = True

    def __init__(self, *, with_masks: bool = True) -> None:
        self.with_masks = with_masks

    def transform(self, results: Results) -> Results:
        """Adds `instances`.

        Raises:
            DataError: the annotations are of an image of another size.
            ValueError: the source gives no `annotations`, or the image has been cut or turned.
        """
        check_unmoved(results, 'LoadInstances')
        if 'annotations' not in results:
            raise ValueError('the source gives no `annotations`; CocoInstances does')
        stored: dict[str, Any] = results['annotations']
        size = tuple(results.get('original', tuple(results['img'].shape[-2:])))
        if size != stored['size']:
            raise DataError(
                f'{results.get("img_path", "")}: the image has {size[0]}x{size[1]} pixels, its '
                f'annotations are of {stored["size"][0]}x{stored["size"][1]}'
            )
        columns = ('boxes', 'classes', 'crowd', 'areas')
        results['instances'] = {name: torch.from_numpy(stored[name]) for name in columns}
        if self.with_masks:
            results['instances']['segmentations'] = stored['segmentations']
            results['instances']['placement'] = Placement(*size)
        return results


def rasterise(segmentations: list[Any], at: Placement, original: tuple[int, int]) -> Tensor:
    """Masks bool (N, H, W) of COCO's segmentations, where the image lies now.

    Polygons are moved and then filled, as COCO's own tool does it; encoded masks are decoded and
    resized by the nearest pixel.

    Args:
        segmentations: polygons, or encoded masks, of each object.
        at: where a point of the original image lies.
        original: (height, width) of the original image.

    Raises:
        ConfigError: pycocotools is not installed.
        ValueError: an encoded mask of another size, a polygon with half a point or with what is no
            number, or a segmentation that is neither.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise ConfigError(
            'masks of a COCO file need pycocotools: pip install pycocotools'
        ) from error
    masks = torch.zeros(len(segmentations), at.height, at.width, dtype=torch.bool)
    for mask, stored in zip(masks, segmentations, strict=True):
        if isinstance(stored, dict):
            _check_encoded(stored, original)
            whole = (
                coco.frPyObjects(stored, *original)
                if isinstance(stored['counts'], list)
                else stored
            )
            mask.copy_(_moved(torch.from_numpy(coco.decode(whole)), at))
            continue
        _check_polygons(stored)
        polygons = [_points(polygon, at) for polygon in stored if len(polygon) >= 6]
        if polygons:
            filled = coco.decode(coco.merge(coco.frPyObjects(polygons, at.height, at.width)))
            mask.copy_(torch.from_numpy(filled))
    return masks


def _check_polygons(stored: object) -> None:
    if not isinstance(stored, list) or not all(isinstance(polygon, list) for polygon in stored):
        raise ValueError(
            f'a segmentation is {repr(stored)[:40]}: neither a list of polygons nor an encoded mask'
        )


def _check_encoded(stored: dict[str, Any], original: tuple[int, int]) -> None:
    """Refuse a mask that is not of the image: pycocotools would make up what is missing."""
    size, counts = stored.get('size'), stored.get('counts')
    if size != list(original):
        raise ValueError(f'an encoded mask of size {size}, its image has {list(original)}')
    if isinstance(counts, list):
        total = sum(counts) if all(isinstance(n, int) and n >= 0 for n in counts) else None
    else:
        total = int(run_lengths(counts or '').sum())
    if total != original[0] * original[1]:
        raise ValueError(
            f'the counts of an encoded mask add up to {total} pixels, not to '
            f'{original[0] * original[1]}'
        )


def _points(polygon: list[float], at: Placement) -> list[float]:
    if len(polygon) % 2:
        raise ValueError(f'a polygon has {len(polygon)} numbers, which make no pairs x, y')
    points = np.asarray(polygon)
    if points.dtype.kind not in 'iuf' or not np.isfinite(points).all():
        raise ValueError(f'a polygon has a coordinate that is no number: {str(polygon)[:40]}')
    points = points.astype(np.float64).reshape(-1, 2)
    moved = points * (at.x_scale, at.y_scale) + (at.x_shift, at.y_shift)
    flat: list[float] = moved.flatten().tolist()
    return flat


def _moved(mask: Tensor, at: Placement) -> Tensor:
    """A mask of the original image (H, W) where the image lies now: the nearest pixel of each."""
    rows = (torch.arange(at.height) + 0.5 - at.y_shift) / at.y_scale
    columns = (torch.arange(at.width) + 0.5 - at.x_shift) / at.x_scale
    inside = [
        (axis >= 0) & (axis < side) for axis, side in zip((rows, columns), mask.shape, strict=True)
    ]
    picked = mask[
        rows.long().clamp(0, mask.shape[0] - 1)[:, None],
        columns.long().clamp(0, mask.shape[1] - 1)[None],
    ]
    return picked.bool() & inside[0][:, None] & inside[1][None]
