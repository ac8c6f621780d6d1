import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mae.datasets import Corrupted, Digits, SeededDataset, collate
from mae.datasets.transforms import Corrupt
from mae.datasets.transforms.corruptions import CORRUPTIONS
from mae.utils.errors import ConfigError

PIPELINE = [
    {'type': 'DecodeImage', 'channels': 1},
    {'type': 'Corrupt'},
    {'type': 'PackInputs'},
]


def test_all_kinds_and_severities_as_groups():
    digits = Digits('val')
    source = Corrupted({'type': 'Digits', 'split': 'val'})
    assert len(source) == 70 * 360
    assert source.metainfo['classes'] == digits.metainfo['classes']
    names = source.metainfo['groups']
    assert names == tuple(f'{kind}/{severity}' for kind in CORRUPTIONS for severity in range(1, 6))
    info = source.get_data_info(360 * 7 + 5)
    assert (info['group'], info['corruption']) == (7, ('shot_noise', 3))
    assert torch.equal(info['img'], digits.get_data_info(5)['img'])
    assert info['gt_label'] == digits.get_data_info(5)['gt_label']
    assert source.get_data_info(-1)['group'] == 69
    with pytest.raises(IndexError):
        source.get_data_info(len(source))
    assert source.get_gt_labels().tolist() == digits.get_gt_labels() * 70


def test_the_pipeline_applies_the_corruption_of_the_sample():
    source = Corrupted(Digits('val'), kinds=['contrast', 'gaussian_noise'], severities=[2, 5])
    dataset = SeededDataset(source, PIPELINE)
    clean = Digits('val').get_data_info(3)['img']
    for group, severity in enumerate((2, 5)):
        expected = Corrupt('contrast', severity).transform({'img': clean})['img']
        assert torch.equal(dataset[360 * group + 3]['inputs'], expected)
    noisy = [dataset[360 * group + 3]['inputs'].float() for group in (2, 3)]
    assert not torch.equal(noisy[0], noisy[1])
    assert torch.equal(noisy[0], dataset[360 * 2 + 3]['inputs'].float())
    assert (noisy[1] - clean).abs().mean() > (noisy[0] - clean).abs().mean()


def test_the_same_images_from_any_number_of_workers():
    source = Corrupted(Digits('val'), kinds=['fog', 'snow', 'glass_blur'], severities=[4])
    dataset = SeededDataset(source, PIPELINE)
    batches = [
        torch.cat([batch['inputs'] for batch in loader])
        for loader in (
            DataLoader(dataset, 90, sampler=range(0, 1080, 12), collate_fn=collate),
            DataLoader(dataset, 8, sampler=range(0, 1080, 12), collate_fn=collate, num_workers=2),
        )
    ]
    assert torch.equal(*batches)


def test_labels_of_a_source_without_get_gt_labels():
    class Source:
        def __len__(self):
            return 3

        def get_data_info(self, index):
            return {'img': np.zeros((4, 4), np.uint8), 'gt_label': index}

    source = Corrupted(Source(), kinds=['fog'], severities=(1, 2))
    assert source.get_gt_labels().tolist() == [0, 1, 2, 0, 1, 2]
    assert source.metainfo == {'groups': ('fog/1', 'fog/2')}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'kinds': ['fogg']}, "Corrupted: unknown corruption 'fogg'; did you mean fog"),
        ({'kinds': ['frost']}, 'photographs of ice'),
        ({'kinds': []}, 'at least one each'),
        ({'severities': [1, 1]}, 'none twice'),
        ({'severities': [0]}, 'severity must be 1, 2, 3, 4 or 5, got 0'),
    ],
)
def test_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Corrupted(Digits('val'), **settings)
