"""What lies in an image moves with it: map, masks and boxes stay over the same pixels."""

import pytest
import torch

from mae.datasets.transforms.geometry import (
    Placement,
    boxes_of,
    crop_sample,
    flip_sample,
    pad_sample,
    resize_sample,
)


def scene(height=12, width=20):
    """An image whose pixels say what lies there: two rectangles, 1 and 2, on 0."""
    labels = torch.zeros(height, width, dtype=torch.int16)
    labels[2:6, 3:9] = 1
    labels[7:11, 12:18] = 2
    masks = torch.stack([labels == 1, labels == 2])
    return {
        'img': (labels * 100).to(torch.uint8)[None],
        'map': labels,
        'instances': {'boxes': boxes_of(masks), 'masks': masks},
    }


def check(results):
    """Image, map, masks and boxes still tell the same."""
    labels = results['map']
    assert results['img'].shape[-2:] == labels.shape
    assert torch.equal(results['img'][0], (labels * 100).to(torch.uint8))
    masks = results['instances']['masks']
    assert torch.equal(masks, torch.stack([labels == 1, labels == 2]))
    seen = masks.flatten(1).any(1)
    assert torch.equal(results['instances']['boxes'][seen], boxes_of(masks[seen]))


def test_boxes_of_masks():
    assert scene()['instances']['boxes'].tolist() == [[3, 2, 9, 6], [12, 7, 18, 11]]
    assert boxes_of(torch.zeros(0, 4, 5, dtype=torch.bool)).shape == (0, 4)


def test_flip_moves_everything():
    results = scene()
    flip_sample(results)
    check(results)
    assert results['instances']['boxes'][0].tolist() == [11, 2, 17, 6]
    flip_sample(results)
    assert torch.equal(results['map'], scene()['map'])


@pytest.mark.parametrize('part', [(0, 0, 12, 20), (1, 2, 6, 10), (4, 5, 5, 9)])
def test_crop_moves_everything(part):
    results = scene()
    crop_sample(results, *part)
    check(results)
    assert results['original'] == (12, 20)


def test_pad_moves_nothing_and_labels_the_border():
    results = scene()
    pad_sample(results, 16, 24, fill=7, map_fill=255)
    assert results['img'].shape == (1, 16, 24)
    assert (results['img'][0, 12:] == 7).all()
    assert (results['map'][:, 20:] == 255).all()
    assert not results['instances']['masks'][:, 12:].any()
    assert torch.equal(results['map'][:12, :20], scene()['map'])


@pytest.mark.parametrize(('height', 'width'), [(24, 40), (36, 20), (12, 60)])
def test_whole_enlargements_keep_what_lies_where(height, width):
    results = scene()
    resize_sample(results, height, width)
    masks = results['instances']['masks']
    assert torch.equal(results['instances']['boxes'], boxes_of(masks))
    expected = scene()['map'].repeat_interleave(height // 12, 0).repeat_interleave(width // 20, 1)
    assert torch.equal(results['map'], expected)
    assert torch.equal(masks, torch.stack([expected == 1, expected == 2]))


def test_a_placement_follows_the_same_moves():
    """A point of the original image, moved by hand and by the placement."""
    results = scene()
    results['instances']['placement'] = Placement(12, 20)
    corner = results['instances']['boxes'][0].clone()
    crop_sample(results, 1, 2, 10, 16)
    resize_sample(results, 30, 48)
    flip_sample(results)
    pad_sample(results, 40, 50)
    at = results['instances']['placement']
    assert (at.height, at.width) == (40, 50)
    assert at.is_moved
    xs = sorted(float(x) * at.x_scale + at.x_shift for x in corner[[0, 2]])
    ys = [float(y) * at.y_scale + at.y_shift for y in corner[[1, 3]]]
    found = results['instances']['boxes'][0].tolist()
    assert found == pytest.approx([xs[0], ys[0], xs[1], ys[1]])
