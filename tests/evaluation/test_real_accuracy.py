import json

import pytest
import torch
from timm.data import RealLabelsImagenet

from mae.evaluation import RealAccuracy
from mae.utils.errors import ConfigError, DataError


def evaluate(metric, logits, numbers, batch_size=100):
    for part in torch.arange(len(numbers)).split(batch_size):
        sample = {'logits': logits[part], 'labels': torch.zeros(len(part)).long()}
        metric.process({'file_numbers': numbers[part]}, [sample])
    return metric.evaluate(len(numbers))


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / 'real.json'
    path.write_text(json.dumps([[3], [], [0, 7], [999]]))
    return str(path)


def test_equals_timm():
    """Of the published lists, 700 numbers in another order than on the disk."""
    numbers = torch.randperm(50_000)[:700] + 1
    logits = torch.randn(700, 1000)
    names = [f'ILSVRC2012_val_{number:08}.JPEG' for number in range(1, 50_001)]
    theirs = RealLabelsImagenet(names, topk=(1,))
    for row, number in enumerate(numbers.tolist()):  # half of them are right
        known = theirs.real_labels[names[number - 1]]
        if known and row % 2:
            logits[row, known[-1]] = 9
    theirs.filenames = [names[number - 1] for number in numbers.tolist()]
    theirs.add_result(logits)
    found = evaluate(RealAccuracy(), logits, numbers)
    assert found['top1'] == pytest.approx(theirs.get_accuracy(k=1))
    assert 45 < found['top1'] < 55
    assert found['num_samples'] + found['num_left_out'] == 700
    assert found['num_left_out'] == sum(not theirs.real_labels[n] for n in theirs.filenames) > 0


def test_by_hand(labels):
    logits = torch.zeros(4, 1000)
    logits[0, 3] = logits[2, 7] = logits[1, 7] = logits[3, 5] = 1
    found = evaluate(RealAccuracy(labels), logits[[2, 0, 1, 3]], torch.tensor([3, 1, 2, 4]), 3)
    assert found == {'top1': pytest.approx(200 / 3), 'num_samples': 3, 'num_left_out': 1}


def test_ties(labels):
    logits = torch.zeros(2, 1000)
    logits[0, [0, 7]] = 1  # both are labels
    logits[1, [0, 8]] = 1  # 8 is none
    assert evaluate(RealAccuracy(labels), logits, torch.tensor([3, 3]))['top1'] == 50


def test_numbers_that_no_list_stands_for(labels):
    with pytest.raises(DataError, match=r'^2 of 3 labels .* no list of labels for the number'):
        evaluate(RealAccuracy(labels), torch.randn(3, 1000), torch.tensor([1, 5, 0]))


def test_nothing_left(labels):
    with pytest.raises(DataError, match='no image has a reassessed label'):
        evaluate(RealAccuracy(labels), torch.randn(1, 1000), torch.tensor([2]))


def test_without_numbers_or_classes(labels):
    sample = {'logits': torch.randn(1, 1000), 'labels': torch.tensor([0])}
    with pytest.raises(ConfigError, match='set file_numbers=True in the source'):
        RealAccuracy(labels).process({'ids': torch.tensor([0])}, [sample])
    with pytest.raises(ConfigError, match='has 10 classes'):
        RealAccuracy(labels).process({}, [{**sample, 'logits': torch.randn(1, 10)}])


@pytest.mark.parametrize('text', ['{"1": [2]}', '[[1], [1000]]', '[]', '[[true]]', '[[1], 2]', 'x'])
def test_other_files(tmp_path, text):
    path = tmp_path / 'real.json'
    path.write_text(text)
    with pytest.raises(DataError, match=r'real\.json: (expected a list of lists|no JSON)'):
        RealAccuracy(str(path))
    with pytest.raises(DataError, match=r'none\.json: No such file'):
        RealAccuracy(str(tmp_path / 'none.json'))
