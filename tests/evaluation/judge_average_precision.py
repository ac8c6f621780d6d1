"""Images for average precision, and what pycocotools says of them.

`python -m tests.evaluation.judge_average_precision` writes its verdict on two of them anew, in an
environment that has pycocotools: `golden_average_precision.json`, which needs it no more.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np

from tests.judges import judge

GOLDEN = Path(__file__).with_name('golden_average_precision.json')

HEIGHT, WIDTH = 130, 170
STATS = ('ap', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large')
STATS += ('ar1', 'ar10', 'ar100', 'ar_small', 'ar_medium', 'ar_large')


def filled(boxes):
    """Masks of boxes, each without its lower right quarter."""
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
        mask[(top + bottom) // 2 : bottom, (left + right) // 2 : right] = False
    return masks


def draw_boxes(rng, number):
    corner = rng.integers(0, [WIDTH - 8, HEIGHT - 8], (number, 2))
    end = corner + rng.integers(4, [WIDTH, HEIGHT], (number, 2))
    return np.concatenate([corner, np.minimum(end, [WIDTH, HEIGHT])], axis=1).astype(float)


def draw_image(rng):
    """Detections near the objects and elsewhere, with equal scores among them."""
    number = int(rng.integers(0, 7))
    objects = draw_boxes(rng, number)
    near = (objects + rng.integers(-6, 7, objects.shape)).clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    found = np.concatenate([near, draw_boxes(rng, int(rng.integers(0, 9)))])
    found = found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]
    classes = rng.integers(0, 4, number)
    guesses = np.concatenate([classes, rng.integers(0, 4, 20)])[: len(found)]
    return {
        'detections': {
            'boxes': found,
            'scores': rng.random(len(found)).round(1),
            'classes': guesses,
            'masks': filled(found),
        },
        'objects': {
            'boxes': objects,
            'classes': classes,
            'crowd': rng.random(number) < 0.2,
            'masks': filled(objects),
            'areas': filled(objects).sum((1, 2)).astype(float),
        },
    }


def judged_by_pycocotools(images, iou):
    """The twelve figures in percent, -100 where there are no objects."""
    coco, cocoeval, masks = judge('pycocotools.coco', 'pycocotools.cocoeval', 'pycocotools.mask')

    def xywh(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    def rle(mask):
        return masks.encode(np.asfortranarray(mask.astype(np.uint8)))

    truth, found = [], []
    for image in images:
        there = image['objects']
        for n, box in enumerate(there['boxes']):
            truth.append(
                {
                    'id': len(truth) + 1,
                    'image_id': image['id'],
                    'category_id': int(there['classes'][n]) + 1,
                    'bbox': xywh(box),
                    'area': there['areas'][n],
                    'iscrowd': int(there['crowd'][n]),
                    'segmentation': rle(there['masks'][n]),
                }
            )
        guesses = image['detections']
        for n, box in enumerate(guesses['boxes']):
            kind = (
                {'bbox': xywh(box)} if iou == 'box' else {'segmentation': rle(guesses['masks'][n])}
            )
            label, score = int(guesses['classes'][n]) + 1, float(guesses['scores'][n])
            found.append({'image_id': image['id'], 'category_id': label, 'score': score, **kind})
    truth_of = coco.COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth_of.dataset = {
            'images': [{'id': i['id'], 'height': HEIGHT, 'width': WIDTH} for i in images],
            'annotations': truth,
            'categories': [{'id': label + 1} for label in range(4)],
        }
        truth_of.createIndex()
        evaluation = cocoeval.COCOeval(
            truth_of, truth_of.loadRes(found), 'bbox' if iou == 'box' else 'segm'
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, 100 * evaluation.stats, strict=True))


def draw_images(seed, number=10):
    """Images of a seed."""
    rng = np.random.default_rng(seed)
    return [{'id': n, **draw_image(rng)} for n in range(number)]


def golden():
    """(images, verdict by kind of overlap) of the file; masks follow from the boxes."""
    for case in json.loads(GOLDEN.read_text())['cases']:
        images = []
        for stored in case['images']:
            image = {'id': stored['id']}
            for part in ('detections', 'objects'):
                columns = {name: np.array(column) for name, column in stored[part].items()}
                columns['boxes'] = columns['boxes'].reshape(-1, 4).astype(float)
                columns['masks'] = filled(columns['boxes'])
                image[part] = {
                    n: c.astype(int) if n == 'classes' else c for n, c in columns.items()
                }
            image['objects']['crowd'] = image['objects']['crowd'].astype(bool)
            images.append(image)
        yield images, case['verdict']


def _write_golden():
    cases = []
    for seed in (0, 1):
        images = draw_images(seed)
        verdict = {
            iou: {k: float(v) for k, v in judged_by_pycocotools(images, iou).items()}
            for iou in ('box', 'mask')
        }
        stored = [
            {
                'id': image['id'],
                **{
                    part: {k: v.tolist() for k, v in image[part].items() if k != 'masks'}
                    for part in ('detections', 'objects')
                },
            }
            for image in images
        ]
        cases.append({'images': stored, 'verdict': verdict})
    made = 'by pycocotools 2.0.11: python -m tests.evaluation.judge_average_precision'
    GOLDEN.write_text(json.dumps({'made': made, 'cases': cases}) + '\n')


if __name__ == '__main__':
    _write_golden()
