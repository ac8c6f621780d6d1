"""How classes are ranked and told."""

import re

import numpy as np
import pytest
import torch

from mae.apis import ImageClassifierInferencer, init_model, load_config
from mae.utils.errors import NonFiniteError

PIXELS = [np.full((16, 16), grey, dtype=np.uint8) for grey in (0, 90, 200)]


@pytest.fixture
def model():
    name = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'
    arch = {'model.encoder.arch': dict(embed_dim=16, depth=1, num_heads=2)}
    return init_model(load_config(name, arch)).eval()


def with_logits(model, logits):
    """The same logits for every image."""
    with torch.no_grad():
        model.head.fc.weight.zero_()
        model.head.fc.bias.copy_(torch.tensor(logits, dtype=torch.float32))
    return model


def test_probabilities_too_small_for_a_float_keep_their_order(model):
    model = with_logits(model, [-400, 0, -300, 500, -200, 100, -150, 7, -900, -500])
    image = ImageClassifierInferencer(model, topk=10)(PIXELS).images[1]
    assert image.labels == [3, 5, 7, 1, 6, 4, 2, 0, 9, 8]
    assert image.scores == [1, *[0] * 9]


def test_equal_logits_are_told_in_the_order_of_the_classes(model):
    image = ImageClassifierInferencer(with_logits(model, [0.5] * 10), topk=4)(PIXELS).images[0]
    assert image.labels == [0, 1, 2, 3]
    assert image.scores == pytest.approx([0.1] * 4)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_logits_that_are_no_numbers(model, value):
    classify = ImageClassifierInferencer(with_logits(model, [value, *range(9)]))
    message = r'^[^\n]*logits of 3 of 3 images [^\n]*image 0[^\n]*$'
    with pytest.raises(NonFiniteError, match=message):
        classify(PIXELS)


@pytest.mark.parametrize('topk', [0, -1, 1.5, True, None, '5'])
def test_impossible_topk(model, topk):
    with pytest.raises(ValueError, match=rf'^topk must .* not {re.escape(repr(topk))}'):
        ImageClassifierInferencer(model, topk=topk)


def test_no_names_are_not_enough(model):
    with pytest.raises(ValueError, match=r'^0 names for 10 classes$'):
        ImageClassifierInferencer(model, classes=[])
