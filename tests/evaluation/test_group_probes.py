"""Three groups of digits, seen through features that differ in worth."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from torch.utils.data import DataLoader, Dataset

from mae.evaluation import Accuracy, GroupProbeLoop, LinearProbe, PerClass
from mae.utils.errors import ConfigError, DataError

GROUPS = ('low', 'high', 'all')
# Which digits a group has; labels count from 0 in each.
DIGITS = {'low': range(4), 'high': range(5, 10), 'all': range(10)}
PENALTIES = (1e-3, 3.0)


class Grouped(Dataset):
    def __init__(self, images, labels, groups, **meta):
        self.columns = images, labels, groups
        self.metainfo = {'groups': GROUPS, **meta}

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        return tuple(column[index] for column in self.columns)


def collated(samples):
    inputs, labels, groups = map(torch.stack, zip(*samples, strict=True))
    return {'inputs': inputs, 'labels': labels, 'groups': groups}


def part(start, **meta):
    """600 digits from `start` on, in the groups that have them."""
    images, labels = (torch.from_numpy(values[start : start + 590]) for values in load())
    rows = [
        (image, torch.tensor(list(DIGITS[name]).index(int(label))), torch.tensor(group))
        for group, name in enumerate(GROUPS)
        for image, label in zip(images, labels, strict=True)
        if int(label) in DIGITS[name]
    ]
    return Grouped(*map(torch.stack, zip(*rows, strict=True)), **meta)


def load():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels


def loader(dataset, batch_size=100):
    return DataLoader(dataset, batch_size, collate_fn=collated)


def loop(runner, test=None, bank=None, val=None, **options):
    runner.logger, runner.visualizer = logging.getLogger('test'), SimpleNamespace()
    parts = [loader(p or part(start)) for p, start in ((test, 1200), (bank, 0), (val, 600))]
    evaluator = Evaluator([Accuracy(1), PerClass()])
    return GroupProbeLoop(
        runner, parts[0], evaluator, *parts[1:], **{'penalties': PENALTIES, **options}
    )


def naive(dataset, name, penalty):
    """top1 and mean per class of a probe on one group."""
    found = {}
    for key, source in (('bank', part(0)), ('images', dataset)):
        images, labels, groups = source.columns
        own = groups == GROUPS.index(name)
        found[key] = images[own] + 0.1, labels[own]
    probe = LinearProbe(penalty, squared=False, standardize=False, max_iter=1000)
    predictions = probe.fit(*found['bank'])(found['images'][0]).argmax(1)
    labels = found['images'][1]
    top1 = 100 * (predictions == labels).double().mean().item()
    return top1, 100 * balanced_accuracy_score(labels, predictions)


@pytest.fixture
def pixels(runner):
    """The model adds 0.1 to its images, and notes how many it sees."""
    seen = []
    extract = runner.model.extract_features
    runner.model.extract_features = lambda images, pool: (
        seen.append((len(images), pool)) or extract(images, pool)
    )
    return seen


def test_equals_a_naive_loop(runner, pixels):
    metrics = loop(runner).run()
    assert sum(count for count, _ in pixels) == sum(len(part(n)) for n in (0, 600, 1200))
    assert {pool for _, pool in pixels} == {'cls'}
    chosen, best = [], []
    for name in GROUPS:
        on_val = [naive(part(600), name, penalty) for penalty in PENALTIES]
        on_test = [naive(part(1200), name, penalty) for penalty in PENALTIES]
        winner = max(range(2), key=lambda n, found=on_val: found[n][0])
        assert metrics[f'{name}_penalty'] == PENALTIES[winner]
        assert metrics[f'{name}_top1'] == pytest.approx(on_test[winner][0], abs=0.3)
        chosen.append([metrics[f'{name}_top1'], metrics[f'{name}_mean_per_class']])
        assert chosen[-1] == pytest.approx(on_test[winner], abs=0.3)
        best.append([max(values) for values in zip(*on_test, strict=True)])
    for number, metric in enumerate(('top1', 'mean_per_class')):
        mean = sum(values[number] for values in chosen) / 3
        assert metrics[metric] == pytest.approx(mean)
        highest = sum(values[number] for values in best) / 3
        assert metrics[f'best_on_test_{metric}'] == pytest.approx(highest, abs=0.3)
    assert 80 < metrics['top1'] < 100
    assert metrics['num_samples'] == len(part(1200))


def test_the_choice_is_made_on_val(runner):
    """All of val is the commonest class of the bank: best is a penalty that leaves its share."""
    _, known, of = part(0).columns
    images, labels, groups = part(600).columns
    for group in range(3):
        labels[groups == group] = known[of == group].bincount().argmax()
    metrics = loop(runner, val=Grouped(images, labels, groups), penalties=(1e-3, 1e3)).run()
    assert metrics['all_top1'] < 20 < metrics['best_on_test_top1']
    assert metrics['all_penalty'] == 1e3


def test_missing_groups_are_in_the_names(runner):
    metrics = loop(runner, test=part(1200, missing=('fish',))).run()
    assert 'top1' not in metrics
    assert metrics['best_on_test_top1_of_3_groups'] >= metrics['top1_of_3_groups'] > 80


def test_a_class_without_training_images(runner):
    images, labels, groups = part(0).columns
    kept = ~((groups == 0) & (labels == 3))
    bank = Grouped(images[kept], labels[kept], groups[kept])
    metrics = loop(runner, bank=bank, penalties=(1e-3,)).run()
    assert metrics['low_mean_per_class'] < 76


def test_two_processes_count_as_one(runner, on_two):
    test, val = part(1200), part(600)
    expected = loop(runner, test, val=val, max_iter=50).run()

    def half(dataset, rank):
        rows = slice(0, 300) if rank else slice(300, None)
        return Grouped(*(column[rows] for column in dataset.columns))

    def evaluate(rank):
        images, labels, groups = part(0).columns  # gathered in the order of ranks
        cut = slice(300, None) if rank else slice(0, 300)
        bank = Grouped(images[cut], labels[cut], groups[cut])
        return loop(runner, half(test, rank), bank, half(val, rank), max_iter=50).run()

    assert on_two(evaluate) == [pytest.approx(expected)] * 2


def test_what_does_not_fit(runner):
    other = part(600)
    other.metainfo['groups'] = ('low', 'high', 'none')
    with pytest.raises(ConfigError, match='val_bank_dataloader and test_dataloader have other gr'):
        loop(runner, val=other)
    other.metainfo = {}
    with pytest.raises(ConfigError, match='needs data sets with groups'):
        loop(runner, other)
    with pytest.raises(ConfigError, match='penalties must not be empty, and max_iter at least 1'):
        loop(runner, penalties=())
    with pytest.raises(ConfigError, match="choose_by='top5' is none of top1, num_samples, mean_p"):
        loop(runner, choose_by='top5', max_iter=2).run()
    unlabelled = part(600)
    unlabelled.columns[1][3] = -1
    with pytest.raises(DataError, match='needs labels: an image has none'):
        loop(runner, val=unlabelled).run()
    images, labels, groups = part(0).columns
    bank = Grouped(images[groups > 0], labels[groups > 0], groups[groups > 0])
    with pytest.raises(DataError, match='bank_dataloader: low has no images'):
        loop(runner, bank=bank, max_iter=2).run()
