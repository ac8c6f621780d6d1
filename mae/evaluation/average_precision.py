"""Average precision of detections, by boxes or masks, as COCO defines it.

The rules are those of COCO's own evaluation (Lin et al. 2014, "Microsoft COCO: Common objects in
context", and its published evaluation code), which pycocotools holds; the tests compare the two.

Shapes: D detections, G objects, T thresholds of the overlap, A ranges of the area, H W pixels.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from torch import Tensor

from mae.evaluation.checks import class_name
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0, 1, 101)
# Pixels of an object, both ends included.
AREAS = {'all': (0.0, 1e10), 'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2)}
AREAS['large'] = (96.0**2, 1e10)
_MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class Matches:
    """The detections of one class in one image, from the highest score down.

    Attributes:
        label: number of the class.
        sample_id: of the image; orders equal scores, so that no number of processes changes them.
        scores: (D,).
        hits: which found an object, bool (A, T, D).
        ignored: which count neither as right nor as wrong, bool (A, T, D).
        num_objects: those that should be found, (A,).
    """

    label: int
    sample_id: int
    scores: Floats
    hits: Bools
    ignored: Bools
    num_objects: NDArray[np.int64]


@METRICS.register_module()
class AveragePrecision(BaseMetric):
    """COCO's AP and AR: the mean over 10 overlaps (.5 to .95) of the 101-point precision.

    A crowd region is ignored: detections in it count neither as right nor as wrong. Matching is
    done image by image, so that what is gathered from the processes are flags, not masks.

    Args:
        iou: overlap of 'box'es or of 'mask's.

    Attributes:
        table: of the last evaluation: a dict(class, label, ap, ap50, objects) for each class that
            has objects or detections, in percent, None without objects.

    Raises:
        ConfigError: another kind of overlap.
    """

    default_prefix = ''
    reads_batches = True  # see `Evaluator`

    def __init__(self, iou: Literal['box', 'mask'] = 'box') -> None:
        super().__init__()
        if iou not in ('box', 'mask'):
            raise ConfigError(f"AveragePrecision.iou must be 'box' or 'mask', not {iou!r}")
        self.iou = iou
        self.table: list[dict[str, Any]] | None = None
        self._matches: list[Matches] = []
        self._num_images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Match the detections of each image with its objects.

        Args:
            data_batch: unused.
            data_samples: a dict for each image: `detections` with `boxes` (D, 4) in pixels (left,
                top, right, bottom), `scores` (D,), `classes` (D,), and for masks `masks` bool
                (D, H, W); `objects` with `boxes` (G, 4), `classes` (G,), `crowd` bool (G,), perhaps
                `areas` (G,) and `masks` (G, H, W); `id`; and perhaps `num_classes`.

        Raises:
            ConfigError: the model gives no detections.
            DataError: an object of a class that the model does not have.
        """
        for sample in data_samples:
            if 'detections' not in sample or 'objects' not in sample:
                raise ConfigError(
                    'AveragePrecision needs the detections and objects of a detector; this model '
                    f'gives {", ".join(sample)}'
                )
            found, there = sample['detections'], sample['objects']
            _check_classes(there['classes'], sample)
            self._matches += match_image(found, there, int(sample['id']), self.iou)
            self._num_images += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Precision and recall over the images of all processes.

        Returns:
            In percent, each behind `box_` or `mask_`: `ap`, `ap50`, `ap75`, `ap_small`,
            `ap_medium`, `ap_large`, `ar1`, `ar10`, `ar100`, `ar_small`, `ar_medium`, `ar_large`,
            where there are such objects; and `num_images`. So both overlaps stand in one config.

        Raises:
            DataError: there is no object to find.
        """
        own, self._matches = (self._matches, self._num_images), []
        self._num_images = 0
        gathered = all_gather_object(own)
        matches = [match for matches, _ in gathered for match in matches]
        matches.sort(key=lambda match: (match.label, match.sample_id))
        if not any(match.num_objects[0] for match in matches):
            raise DataError('there is nothing to evaluate: no image has an object')
        self.table = [
            {'class': class_name(self.dataset_meta, label), 'label': label, **row}
            for label, row in per_class(matches)
        ]
        metrics = {**summarise(matches), 'num_images': float(sum(n for _, n in gathered))}
        return {f'{self.iou}_{name}': value for name, value in metrics.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` gathers what it needs."""
        raise AssertionError('AveragePrecision matches image by image')


def _check_classes(labels: Any, sample: Mapping[str, Any]) -> None:
    if len(labels) and 'num_classes' in sample and int(labels.max()) >= sample['num_classes']:
        raise DataError(
            f'image {sample["id"]} has an object of class {int(labels.max())}, but the model has '
            f'{sample["num_classes"]} classes, from 0 on'
        )


def match_image(
    detections: Mapping[str, Any], objects: Mapping[str, Any], sample_id: int, iou: str
) -> list[Matches]:
    """Match one image's detections with its objects, class by class; see `AveragePrecision`."""
    found, there = _arrays(detections), _arrays(objects)
    crowd = there.get('crowd', np.zeros(len(there['classes']), np.bool_)).astype(np.bool_)
    areas = there['areas'] if 'areas' in there else _areas(there, iou)
    matches = []
    for label in np.union1d(found['classes'], there['classes']):
        is_here = there['classes'] == label
        rows = np.flatnonzero(found['classes'] == label)
        rows = rows[np.argsort(-found['scores'][rows], kind='stable')][: _MAX_DETECTIONS[-1]]
        some = {name: column[rows] for name, column in found.items()}
        others = {name: column[is_here] for name, column in there.items()}
        overlaps = overlap(some, others, crowd[is_here], iou)
        hits, ignored, counts = [], [], []
        for low, high in AREAS.values():
            outside = (areas[is_here] < low) | (areas[is_here] > high)
            skipped = crowd[is_here] | outside
            hit, ignore = match(overlaps, skipped, crowd[is_here])
            size = _areas(some, iou)
            hits.append(hit)
            ignored.append(ignore | (~hit & ((size < low) | (size > high))))
            counts.append(int((~skipped).sum()))
        matches.append(
            Matches(
                int(label),
                sample_id,
                some['scores'].astype(np.float64),
                np.stack(hits),
                np.stack(ignored),
                np.array(counts),
            )
        )
    return matches


def overlap(found: Mapping[str, Any], there: Mapping[str, Any], crowd: Bools, iou: str) -> Floats:
    """Intersection over union (D, G); over the detection's own area where the object is a crowd."""
    if iou == 'mask':
        intersection = _flat(found['masks']) @ _flat(there['masks']).T
    else:
        one, other = found['boxes'][:, None], there['boxes'][None]
        sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
        intersection = sides.clip(0).prod(-1)
    own, others = _areas(found, iou)[:, None], _areas(there, iou)[None]
    union = np.where(crowd[None], own, own + others - intersection)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def match(overlaps: Floats, skipped: Bools, crowd: Bools) -> tuple[Bools, Bools]:
    """Give each detection, from the highest score down, the free object that it overlaps most.

    An object that counts is preferred to a skipped one; only a crowd can be matched again.

    Args:
        overlaps: (D, G), detections from the highest score down.
        skipped: objects that need not be found, (G,).
        crowd: (G,).

    Returns:
        Which detections found an object, and which of those a skipped one, bool (T, D).
    """
    D, G = overlaps.shape
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    hits, ignored = np.zeros((2, len(THRESHOLDS), D), np.bool_)
    taken = np.zeros((len(THRESHOLDS), G), np.bool_)
    every = np.arange(len(THRESHOLDS))
    for d in range(D if G else 0):
        free = (overlaps[d] >= least) & ~(taken & ~crowd)  # T,G
        counts = free & ~skipped
        among = np.where(counts.any(1, keepdims=True), counts, free)
        # Of equal overlaps the last object, as COCO's loop has it.
        best = G - 1 - np.where(among, overlaps[d], -1.0)[:, ::-1].argmax(1)
        hit = among.any(1)
        hits[:, d], ignored[:, d] = hit, hit & skipped[best]
        taken[every[hit], best[hit]] = True
    return hits, ignored


def summarise(matches: Sequence[Matches]) -> dict[str, float]:
    """AP and AR in percent of matches sorted by class and image, without what has no objects."""
    most = _MAX_DETECTIONS[-1]
    curves = {
        (area, number): [
            curve
            for _, group in groupby(matches, key=lambda match: match.label)
            if (curve := _curve(list(group), index, number)) is not None
        ]
        for index, area in enumerate(AREAS)
        for number in (_MAX_DETECTIONS if area == 'all' else (most,))
    }
    precision = {
        area: np.stack([precision for precision, _ in curves[area, most]])  # classes,T,R
        for area in AREAS
        if curves[area, most]
    }
    metrics = {'ap': precision['all'].mean()}
    metrics |= {f'ap{50 + 5 * t}': precision['all'][:, t].mean() for t in (0, 5)}
    metrics |= {f'ap_{area}': precision[area].mean() for area in precision if area != 'all'}
    for (area, number), found in curves.items():
        if found:
            name = f'ar{number}' if area == 'all' else f'ar_{area}'
            metrics[name] = np.stack([recall for _, recall in found]).mean()
    return {name: 100 * float(value) for name, value in metrics.items()}


def per_class(matches: Sequence[Matches]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of each class, with its `ap` and `ap50` in percent and its number of `objects`."""
    for label, group in groupby(matches, key=lambda match: match.label):
        own = list(group)
        curve = _curve(own, 0, _MAX_DETECTIONS[-1])
        objects = sum(int(match.num_objects[0]) for match in own)
        ap, ap50 = (None, None) if curve is None else (curve[0].mean(), curve[0][0].mean())
        yield (
            label,
            {
                'ap': None if ap is None else 100 * float(ap),
                'ap50': None if ap50 is None else 100 * float(ap50),
                'objects': objects,
            },
        )


def _curve(matches: Sequence[Matches], area: int, number: int) -> tuple[Floats, Floats] | None:
    """Precision (T, 101) and largest recall (T,) of one class; None if it has no objects.

    Args:
        matches: of every image, in the images' order.
        area: number of the range.
        number: detections an image, from the highest score down.
    """
    num_objects = sum(int(match.num_objects[area]) for match in matches)
    if not num_objects:
        return None
    scores = np.concatenate([match.scores[:number] for match in matches])
    order = np.argsort(-scores, kind='stable')
    hits = np.concatenate([match.hits[area, :, :number] for match in matches], axis=1)[:, order]
    ignored = np.concatenate([match.ignored[area, :, :number] for match in matches], axis=1)
    counted = ~ignored[:, order]
    right = (hits & counted).cumsum(axis=1).astype(np.float64)  # T,D
    wrong = (~hits & counted).cumsum(axis=1)
    recall = right / num_objects
    precision = right / (right + wrong + np.spacing(1))
    # The best precision at this recall or a larger one.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    sampled = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for t, reached in enumerate(recall):
        at = np.searchsorted(reached, RECALLS, side='left')
        inside = at < len(reached)
        sampled[t, inside] = precision[t, at[inside]]
    last = recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))
    return sampled, last


def _areas(columns: Mapping[str, Any], iou: str) -> Floats:
    """Pixels of each mask, or of each box."""
    if iou == 'mask':
        pixels: Floats = _flat(columns['masks']).sum(axis=1)
        return pixels
    boxes = columns['boxes']
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _flat(masks: NDArray[Any]) -> Floats:
    """(D, H, W) to (D, H*W), zeros and ones."""
    flat: Floats = masks.reshape(len(masks), math.prod(masks.shape[1:])).astype(np.float64)
    return flat


def _arrays(columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """On the CPU; boxes in float64."""
    arrays = {
        name: column.cpu().numpy() if isinstance(column, Tensor) else np.asarray(column)
        for name, column in columns.items()
    }
    arrays['boxes'] = arrays['boxes'].astype(np.float64).reshape(-1, 4)
    if 'areas' in arrays:
        arrays['areas'] = arrays['areas'].astype(np.float64)
    return arrays
