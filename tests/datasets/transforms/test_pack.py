import numpy as np
import pytest
import torch

from mae.datasets.transforms import PackInputs


def test_tensors_and_arrays():
    array = np.random.randint(0, 256, (4, 6, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for img in (array, tensor):
        sample = PackInputs()({'img': img, 'gt_label': np.int64(3), 'img_path': 'x'})
        assert sample.keys() == {'inputs', 'label'}
        assert torch.equal(sample['inputs'], tensor)
        assert type(sample['label']) is int
        assert sample['label'] == 3


def test_no_label():
    img = torch.zeros(1, 2, 2, dtype=torch.uint8)
    assert PackInputs()({'img': img})['label'] == -1


def test_columns_are_passed_on():
    results = {'img': torch.zeros(1, 2, 2, dtype=torch.uint8), 'gt_label': 1, 'folder': 'x'}
    assert PackInputs()({**results, 'group': np.int64(2), 'file_number': 7}) == {
        **PackInputs()(results),
        'group': 2,
        'file_number': 7,
    }
    with pytest.raises(ValueError, match=r'^group must be one integer, got 1\.5$'):
        PackInputs()({**results, 'group': 1.5})


@pytest.mark.parametrize(
    ('results', 'message'),
    [
        ({'img_path': 'x'}, 'must begin with DecodeImage'),
        ({'img': torch.zeros(1, 2, 2)}, r'must be uint8.*\(1, 2, 2\) torch.float32'),
        ({'img': 'x'}, 'got str'),
        ({'img': torch.zeros(1, 2, 2, dtype=torch.uint8), 'gt_label': [1, 2]}, 'one integer'),
        ({'img': torch.zeros(1, 2, 2, dtype=torch.uint8), 'gt_label': 1.9}, 'one integer, got 1.9'),
    ],
)
def test_wrong_results(results, message):
    with pytest.raises(ValueError, match=message):
        PackInputs()(results)
