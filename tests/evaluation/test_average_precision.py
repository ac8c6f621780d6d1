"""AP against pycocotools where it is installed, hand-made cases where it is not."""

import contextlib
import io

import numpy as np
import pytest

from mae.evaluation import Evaluator
from mae.evaluation.average_precision import AveragePrecision, match
from mae.utils.errors import ConfigError, DataError

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
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from pycocotools.mask import encode

    def xywh(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    def rle(mask):
        return encode(np.asfortranarray(mask.astype(np.uint8)))

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
    judge = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        judge.dataset = {
            'images': [{'id': i['id'], 'height': HEIGHT, 'width': WIDTH} for i in images],
            'annotations': truth,
            'categories': [{'id': label + 1} for label in range(4)],
        }
        judge.createIndex()
        evaluation = COCOeval(judge, judge.loadRes(found), 'bbox' if iou == 'box' else 'segm')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, 100 * evaluation.stats, strict=True))


@pytest.mark.parametrize('iou', ['box', 'mask'])
@pytest.mark.parametrize('seed', [0, 1])
def test_equals_pycocotools(iou, seed):
    rng = np.random.default_rng(seed)
    images = [{'id': number, **draw_image(rng)} for number in range(10)]
    expected = judged_by_pycocotools(images, iou)
    metric = AveragePrecision(iou)
    metric.process(None, images)
    found = metric.evaluate(len(images))
    for name, value in expected.items():
        assert found.get(f'{iou}_{name}', -100) == pytest.approx(value, abs=1e-9), name


def test_the_order_of_images_and_batches_changes_nothing():
    rng = np.random.default_rng(3)
    images = [{'id': number, **draw_image(rng)} for number in range(6)]
    one, other = AveragePrecision(), AveragePrecision()
    one.process(None, images)
    for image in images[::-1]:
        other.process(None, [image])
    assert one.evaluate(6) == other.evaluate(6)


def image(boxes, scores, objects, **more):
    boxes, objects = np.array(boxes, float), np.array(objects, float)
    return {
        'id': 0,
        'detections': {
            'boxes': boxes,
            'scores': np.array(scores),
            'classes': np.zeros(len(boxes), int),
        },
        'objects': {'boxes': objects, 'classes': np.zeros(len(objects), int), **more},
    }


def score(*images):
    metric = AveragePrecision()
    metric.process(None, images)
    return metric.evaluate(len(images))


def test_by_hand():
    box = [0, 0, 40, 40]
    assert score(image([box], [0.9], [box]))['box_ap'] == pytest.approx(100)
    # A wrong one with a higher score: precision 1/2 at every recall.
    wrong = [50, 50, 90, 90]
    assert score(image([wrong, box], [0.9, 0.8], [box]))['box_ap'] == pytest.approx(50)
    # An overlap of .7 hits at .5, .55, .6, .65 and .7: half of the ten.
    part = [0, 0, 40, 28]
    assert score(image([part], [0.9], [box]))['box_ap'] == pytest.approx(50)
    # The second of two on one object is wrong, but behind full recall.
    assert score(image([box, box], [0.9, 0.8], [box]))['box_ap'] == pytest.approx(100)


def test_crowds_neither_reward_nor_punish():
    box, crowd = [0, 0, 40, 40], [60, 0, 160, 100]
    inside = [[70, 10, 90, 30], [100, 10, 120, 30]]  # both lie in the crowd
    found = score(
        image([*inside, box], [0.9, 0.8, 0.7], [box, crowd], crowd=np.array([False, True]))
    )
    assert found['box_ap'] == pytest.approx(100)


def test_an_object_that_counts_is_preferred_to_a_skipped_one():
    overlaps = np.array([[0.9, 0.6]])
    hits, ignored = match(overlaps, np.array([True, False]), np.array([False, False]))
    assert hits[:3].all()
    assert not ignored[:3].any()  # at .5, .55 and .6 the second one
    assert ignored[3:9].all()  # above, only the skipped one overlaps enough


def test_images_without_objects_or_detections():
    box = [0, 0, 40, 40]
    empty = image(np.zeros((0, 4)), [], [box])
    assert score(empty)['box_ap'] == 0
    # A detection where there is nothing is wrong.
    with_wrong = score(
        image([box], [0.9], [box]), {**image([box], [0.95], np.zeros((0, 4))), 'id': 1}
    )
    assert with_wrong['box_ap'] == pytest.approx(50)
    with pytest.raises(DataError, match='no image has an object'):
        score(image([box], [0.9], np.zeros((0, 4))))


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match='iou'):
        AveragePrecision('polygon')
    with pytest.raises(ConfigError, match=r'detections.*logits'):
        AveragePrecision().process(None, [{'logits': 1}])


def test_the_table_has_a_row_for_each_class_and_its_mean_is_the_ap():
    rng = np.random.default_rng(3)
    images = [{**draw_image(rng), 'id': number} for number in range(8)]
    metric = AveragePrecision('mask')
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    metric.process(None, images)
    found = metric.evaluate(8)
    assert [row['class'] for row in metric.table] == ['cat', 'dog', '2', '3']
    known = [row for row in metric.table if row['ap'] is not None]
    assert np.mean([row['ap'] for row in known]) == pytest.approx(found['mask_ap'], abs=1e-9)
    assert np.mean([row['ap50'] for row in known]) == pytest.approx(found['mask_ap50'], abs=1e-9)
    objects = sum(int((~image['objects']['crowd']).sum()) for image in images)
    assert sum(row['objects'] for row in metric.table) == objects


def test_boxes_and_masks_are_evaluated_together():
    """mmengine refuses two metrics that give a figure of one name."""
    images = [{**draw_image(np.random.default_rng(3)), 'id': 0}]
    evaluator = Evaluator([AveragePrecision('box'), AveragePrecision('mask')])
    evaluator.process(images)
    found = evaluator.evaluate(1)
    assert found['box_num_images'] == found['mask_num_images'] == 1
    assert {'box_ap', 'mask_ap'} <= set(found)
