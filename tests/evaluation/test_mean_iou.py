"""mIoU against a loop over pixels, and its bad input."""

import numpy as np
import pytest
import torch

from mae.evaluation.mean_iou import MeanIoU, count_pixels
from mae.utils.errors import ConfigError, DataError


def naive(preds, maps, num_classes, ignore):
    """IoU of each class that occurs, pixel by pixel."""
    values = []
    for label in range(num_classes):
        both = either = 0
        for pred, truth in zip(preds, maps, strict=True):
            for p, t in zip(pred.flatten().tolist(), truth.flatten().tolist(), strict=True):
                if t != ignore:
                    both += p == label and t == label
                    either += p == label or t == label
        if either:
            values.append(both / either)
    return values


def batch(preds, maps, num_classes):
    return [{'pred_maps': preds, 'maps': maps, 'num_classes': num_classes}]


def test_equals_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 6), (7, 3), (5, 5)]
    preds = [torch.randint(0, 5, shape, generator=generator) for shape in shapes]
    maps = [torch.randint(0, 6, shape, generator=generator, dtype=torch.int16) for shape in shapes]
    for truth in maps:
        truth[truth == 5] = 255
        truth[truth == 3] = 0  # class 3 occurs only in predictions
    metric = MeanIoU()
    for pred, truth in zip(preds, maps, strict=True):  # as batches of one
        metric.process(None, batch([pred], [truth], 6))
    found = metric.evaluate(0)
    expected = naive(preds, maps, 6, 255)
    assert len(expected) == 5  # class 5 occurs nowhere
    assert found['miou'] == pytest.approx(100 * np.mean(expected), abs=1e-9)
    assert found['num_images'] == 3


def test_counts_of_batches_add_up_and_start_anew():
    pred, truth = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 1]])
    once, twice = MeanIoU(per_class=True), MeanIoU(per_class=True)
    once.process(None, batch([pred, truth], [truth, truth], 2))
    twice.process(None, batch([pred], [truth], 2))
    twice.process(None, batch([truth], [truth], 2))
    assert once.evaluate(0) == twice.evaluate(0)
    twice.process(None, batch([truth], [truth], 2))
    found = twice.evaluate(0)
    assert found['miou'] == found['iou_0'] == found['pixel_accuracy'] == 100
    assert found['num_images'] == 1


def test_ignored_pixels_count_nowhere():
    pred = torch.tensor([[0, 1, 1]])
    counts = count_pixels(pred, torch.tensor([[0, 255, 1]]), 2, 255)
    assert counts.tolist() == [1, 1, 1, 1, 1, 1, 0]


def test_labels_beyond_the_classes_are_counted_and_refused():
    metric = MeanIoU()
    metric.process(None, batch([torch.zeros(1, 4).long()], [torch.tensor([[0, 2, 3, -1]])], 2))
    with pytest.raises(DataError, match=r'3 pixels.*ignore_index=255'):
        metric.evaluate(0)


@pytest.mark.parametrize(
    ('pred', 'truth'),
    [
        (torch.zeros(2, 3).long(), torch.zeros(3, 2).long()),
        (torch.zeros(2, 3), torch.zeros(2, 3).long()),
        (torch.zeros(1, 2, 3).long(), torch.zeros(1, 2, 3).long()),
    ],
)
def test_maps_must_be_whole_numbers_of_one_size(pred, truth):
    with pytest.raises(ValueError, match='MeanIoU'):
        count_pixels(pred, truth, 2, 255)


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match='nothing to evaluate'):
        MeanIoU().evaluate(0)
    metric = MeanIoU()
    metric.process(None, batch([torch.zeros(1, 1).long()], [torch.full((1, 1), 255)], 2))
    with pytest.raises(DataError, match='ignored'):
        metric.evaluate(0)


def test_a_model_without_maps_and_a_strange_index_are_named():
    with pytest.raises(ConfigError, match=r'pred_maps.*logits'):
        MeanIoU().process(None, [{'logits': torch.zeros(1, 2)}])
    with pytest.raises(ConfigError, match='ignore_index'):
        MeanIoU(ignore_index=True)


def test_the_table_has_a_row_for_each_class():
    pred = torch.tensor([[0, 0, 1], [1, 1, 3]])
    truth = torch.tensor([[0, 1, 1], [1, 255, 0]])
    metric = MeanIoU(per_class=True)
    metric.dataset_meta = {'classes': ('sky', 'sea')}
    metric.process(None, batch([pred], [truth], 5))
    found = metric.evaluate(1)
    names = [(row['class'], row['label'], row['pixels']) for row in metric.table]
    assert names == [('sky', 0, 2), ('sea', 1, 3), ('2', 2, 0), ('3', 3, 0), ('4', 4, 0)]
    assert [row['iou'] for row in metric.table] == pytest.approx([100 / 3, 200 / 3, None, 0, None])
    assert [row['accuracy'] for row in metric.table] == pytest.approx(
        [50, 200 / 3, None, None, None]
    )
    assert found['iou_sea'] == metric.table[1]['iou']
    assert 'iou_2' not in found
