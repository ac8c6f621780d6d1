"""Drawn label maps and objects: the right colours in the right places."""

import numpy as np
import pytest
import torch

from mae.visualization.colours import colour_of
from mae.visualization.dense import (
    IGNORED,
    DenseView,
    Objects,
    can_be_drawn,
    dense_sheet,
    legend_of,
    views_of,
)
from mae.visualization.dense_report import predictions_section

NAMES = ('canvas', 'cat', 'dog', '<b>')


def view():
    labels = np.zeros((20, 30), np.int64)
    labels[:10, :10] = 1
    truth = labels.copy()
    truth[10:, 20:] = 255
    return DenseView(np.full((20, 30), 100, np.uint8), labels, truth, 'a & b')


def test_colours_of_many_classes_differ():
    colours = [colour_of(label) for label in range(24)]
    assert len(set(colours)) == 24
    apart = [np.abs(np.subtract(a, b)).sum() for a in colours[:10] for b in colours[:10] if a != b]
    assert min(apart) > 60
    assert all(0 <= level <= 255 for label in range(1000) for level in colour_of(label))


def test_a_map_tints_its_classes_and_leaves_the_background():
    image, truth, found = (np.asarray(p).astype(int) for p in view().draw(NAMES))
    assert image.shape == truth.shape == found.shape
    scale = image.shape[0] // 20
    assert scale > 1  # small images are enlarged
    at = lambda pixels, y, x: pixels[int((y + 0.5) * scale), int((x + 0.5) * scale)]  # noqa: E731
    assert (at(found, 15, 5) == 100).all()
    expected = 0.45 * 100 + 0.55 * np.array(colour_of(1))
    assert np.abs(at(found, 5, 5) - expected).max() <= 1
    assert (at(found, 15, 25) == 100).all()
    assert (at(truth, 15, 25) == 35).all()  # ignored


def test_the_legend_names_what_occurs():
    assert [name for name, _ in legend_of([view()], NAMES)] == ['cat', IGNORED]
    objects = Objects(np.array([[1.0, 1, 5, 5]]), np.array([2]), np.array([0.9]))
    both = [view(), DenseView(np.zeros((9, 9, 3), np.uint8), objects)]
    assert [name for name, _ in legend_of(both, NAMES)] == ['cat', 'dog', IGNORED]


def test_objects_are_boxed_where_they_are_and_the_best_is_on_top():
    masks = np.zeros((2, 200, 300), np.bool_)
    masks[:, 50:100, 60:120] = True
    boxes = np.array([[60.0, 50, 120, 100]] * 2)
    objects = Objects(boxes, np.array([1, 2]), np.array([0.9, 0.4]), masks)
    picture = np.zeros((200, 300, 3), np.uint8)
    _, found = DenseView(picture, objects).draw(NAMES)
    pixels = np.asarray(found).astype(int)
    assert np.abs(pixels[75, 60] - colour_of(1)).max() == 0
    inside = 0.55 * (0.45 * np.array(colour_of(2)) + np.array(colour_of(1)))
    assert np.abs(pixels[75, 90] - inside).max() <= 1
    assert (pixels[150, 200] == 0).all()


def test_a_sheet_holds_views_of_any_size_and_of_nothing_found():
    nothing = Objects(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    views = [
        view(),
        DenseView(np.zeros((1000, 700, 3), np.uint8), nothing),
        DenseView(np.zeros((3, 400), np.uint8), np.zeros((3, 400), np.int64)),
    ]
    sheet = dense_sheet(views, NAMES)
    assert sheet.height > 512
    assert sheet.width > 512
    html = predictions_section('Found', views, NAMES)
    assert html.count('<img ') == 3 + 2 + 2
    assert 'a &amp; b' in html
    thing = Objects(np.array([[0.0, 0, 3, 3]]), np.array([3]))
    html = predictions_section('Found', [DenseView(np.zeros((9, 9), np.uint8), thing)], NAMES)
    assert '&lt;b&gt;' in html
    assert '<b>' not in html


def test_views_of_a_batch_leave_the_border_and_the_weak_detections_out():
    inputs = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    inputs[:, :, :32, :48] = 200
    batch = {
        'inputs': inputs,
        'shapes': torch.tensor([[32, 48]]),
        'originals': torch.tensor([[64, 96]]),
    }
    detections = {
        'boxes': torch.tensor([[0.0, 0, 90, 60], [1, 1, 5, 5]]),
        'scores': torch.tensor([0.8, 0.3]),
        'classes': torch.tensor([1, 2]),
    }
    outputs = [{'detections': detections, 'id': 0}]
    assert can_be_drawn(batch, outputs)
    assert not can_be_drawn(batch, [{'logits': 1}])
    assert not can_be_drawn({'inputs': torch.zeros(1, 5, 8, 8)}, outputs)
    (found,) = views_of(batch, outputs)
    assert found.image.shape == (64, 96, 3)
    assert (found.image == 200).all()
    assert found.found.labels.tolist() == [1]
    assert found.truth is None
    maps = [torch.zeros(32, 48, dtype=torch.int64)]
    (found,) = views_of(batch, [{'pred_maps': maps, 'maps': maps, 'num_classes': 3}])
    assert found.image.shape == (32, 48, 3)
    assert found.columns == ('image', 'truth', 'prediction')
    with pytest.raises(KeyError):
        list(views_of(batch, [{'logits': 1}]))
