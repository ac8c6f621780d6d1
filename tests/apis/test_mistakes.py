"""Confusion matrix and worst mistakes of test images, beside figures made from logits alone."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix

from mae.apis import TestImages, draw_confusion, draw_mistakes, init_model, load_config
from mae.apis.mistakes import confusion_counts, worst_mistakes
from mae.datasets import Digits
from mae.utils.errors import DataError, NonFiniteError

ARCH = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}
CONFIG = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A classifier of random weights, far enough from zero that its predictions differ."""
    torch.manual_seed(0)
    model = init_model(load_config(CONFIG, {'model.encoder.arch': ARCH}))
    model.init_weights()
    torch.nn.init.normal_(model.encoder.patch_embed.proj.weight)
    torch.nn.init.normal_(model.head.fc.weight, std=3)
    path = tmp_path_factory.mktemp('weights') / 'model.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def images(weights):
    return TestImages(load_config(CONFIG, {'model.encoder.arch': ARCH}), weights)


@pytest.fixture(scope='module')
def logits(images):
    """Of all test images, from the data set itself."""
    model, digits = images.classifier.model, Digits(split='val')
    pixels = torch.stack([digits.get_data_info(n)['img'] for n in range(len(digits))])
    labels = torch.tensor([digits.get_data_info(n)['gt_label'] for n in range(len(digits))])
    with torch.no_grad():
        return model(model.data_preprocessor({'inputs': pixels}, False)['inputs']), labels


def test_a_head_of_more_classes_than_the_data_names(tmp_path):
    """Those without a name have their number, so that every prediction has one."""
    config = load_config(CONFIG, {'model.encoder.arch': ARCH, 'model.head.num_classes': 12})
    model = init_model(config)
    model.init_weights()
    model.head.fc.bias.data[11] = 100
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    images = TestImages(config, path)
    assert images.classes == [str(number) for number in range(12)]
    assert {mistake.prediction for mistake in worst_mistakes(images, 3)} == {11}
    draw_mistakes(images, 3)


def test_what_are_no_test_images():
    for draw in (draw_confusion, draw_mistakes):
        with pytest.raises(ValueError, match=r'give TestImages\(config, checkpoint\), not a str'):
            draw(CONFIG)


def test_counts_are_those_of_sklearn(images, logits):
    predictions, labels = logits[0].argmax(1), logits[1]
    assert len(predictions.unique()) > 3
    expected = confusion_matrix(labels, predictions, labels=range(10)).tolist()
    assert confusion_counts(images) == expected
    assert draw_confusion(images).width > 300


def test_the_mistakes_of_highest_loss(images, logits):
    losses = F.cross_entropy(*logits, reduction='none')
    predictions, labels = logits[0].argmax(1), logits[1]
    wrong = [n for n in range(len(labels)) if predictions[n] != labels[n]]
    wrong.sort(key=lambda n: -losses[n])
    found = worst_mistakes(images, 5)
    assert [each.id for each in found] == wrong[:5]
    for each in found:
        assert (each.label, each.prediction) == (labels[each.id], predictions[each.id])
        assert each.loss == pytest.approx(float(losses[each.id]), rel=1e-5)
        assert each.score == pytest.approx(float(logits[0][each.id].softmax(0).max()), rel=1e-5)
    assert draw_mistakes(images, 3).width == 3 * 136 + 8


def test_a_count_that_is_none(images):
    with pytest.raises(ValueError, match='num must be a whole number from 1 on, not 0'):
        worst_mistakes(images, 0)


def test_no_mistake(images, monkeypatch):
    monkeypatch.setattr(TestImages, '__iter__', lambda self: iter(()))
    with pytest.raises(DataError, match='there is no mistake to draw'):
        draw_mistakes(images)


def test_broken_weights(images):
    head = images.classifier.model.head.fc
    before = head.bias.data.clone()
    head.bias.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match='the logits of test images are NaN or infinite'):
        confusion_counts(images)
    head.bias.data.copy_(before)


def test_a_model_of_no_classes(tmp_path):
    config = load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', {'model.encoder.arch': ARCH})
    path = tmp_path / 'mae.pth'
    torch.save({'state_dict': init_model(config).state_dict()}, path)
    with pytest.raises(ValueError, match='a MAE gives no one class: take a fine-tuned model'):
        TestImages(config, path)
