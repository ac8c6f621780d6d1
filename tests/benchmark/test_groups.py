"""A test on groups of folders beside one on a plain list: the same images, the same hits."""

import pytest
import torch

from mae.apis import load_config
from mae.benchmark import groups
from mae.benchmark.settings import Settings

TEST = 'vit-base-p16_test-8xb128_in-c'
TINY = {
    'model.encoder.img_size': 32,
    'model.encoder.arch': {'embed_dim': 16, 'depth': 1, 'num_heads': 1},
}


def test_both_count_the_same_images():
    settings = Settings(load_config(TEST, TINY), 700, torch.device('cpu'), torch.float32)
    report = groups.run(settings, ['ImageFolder'], rounds=2, steps=1)
    assert report['agree'] == {'ImageFolder': True}
    assert report['images'] == 3000  # of four batches, so many a folder that all are alike
    assert report['systems']['mae']['check'] > 0
    assert len(report['systems']['mae']['rounds']) == 2
    assert report['ratio']['ImageFolder'] > 0
    assert report['batch_size'] == 700


def test_a_config_that_tests_no_classifier(make_settings):
    with pytest.raises(ValueError, match=r'^--config .* tests no classifier; give one that does'):
        groups.run(make_settings(), [])
