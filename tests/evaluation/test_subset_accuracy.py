import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from mae.evaluation import Accuracy, SubsetAccuracy
from mae.utils.class_lists import class_list, subset_indices
from mae.utils.errors import ConfigError, DataError


def naive(logits, labels, indices):
    """As the authors of the sets score: argmax over the chosen columns, label by rank."""
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        chosen = [row[index] for index in indices]
        hits += chosen.index(max(chosen)) == indices.index(label)
    return 100 * hits / len(labels)


def evaluate(metric, logits, labels, batch_size=64):
    for part in torch.arange(len(labels)).split(batch_size):
        metric.process(None, [{'logits': logits[part], 'labels': labels[part]}])
    return metric.evaluate(len(labels))


@pytest.mark.parametrize('name', ['imagenet-a', 'imagenet-r'])
def test_equals_a_naive_loop(name):
    indices = subset_indices(name)
    labels = torch.tensor(indices)[torch.randint(0, 200, (300,))]
    logits = torch.randn(300, 1000)
    logits[torch.arange(300), labels] += 2.5
    found = evaluate(SubsetAccuracy(name), logits, labels)
    assert found['top1'] == pytest.approx(naive(logits, labels, indices))
    ranks = torch.tensor([indices.index(label) for label in labels.tolist()])
    top5 = top_k_accuracy_score(ranks, logits[:, list(indices)], k=5, labels=range(200))
    assert found['top5'] == pytest.approx(100 * top5)
    assert found['num_samples'] == 300
    assert evaluate(Accuracy(), logits, labels)['top1'] < found['top1'] < 100


def test_the_rank_is_that_of_the_sorted_names():
    names, label = class_list('imagenet-a'), class_list('imagenet').index('n01558993')
    logits = torch.zeros(1, 1000)
    logits[0, label] = 1
    assert subset_indices('imagenet-a')[names.index('n01558993')] == label
    metric = SubsetAccuracy('imagenet-a', 1)
    assert evaluate(metric, logits, torch.tensor([label]))['top1'] == 100


def test_a_class_that_is_not_in_the_subset():
    with pytest.raises(DataError, match=r'2 of 4 labels .*: they are of classes that are not in'):
        evaluate(SubsetAccuracy([1, 3], 1), torch.randn(4, 5), torch.tensor([1, 2, 3, 7]))


def test_another_classifier():
    for metric, message in (
        (SubsetAccuracy('imagenet-r'), 'SubsetAccuracy: the model has 10 classes, .* 1000'),
        (SubsetAccuracy([3, 12]), r'the subset has class 12, the model only 0\.\.9'),
    ):
        with pytest.raises(ConfigError, match=message):
            metric.process(None, [{'logits': torch.randn(2, 10), 'labels': torch.tensor([3, 4])}])


@pytest.mark.parametrize('subset', [[2, 1], [1, 1], [3], [-1, 2], [0.5, 1]])
def test_no_subset(subset):
    with pytest.raises(ConfigError, match='two or more different labels, rising'):
        SubsetAccuracy(subset)


def test_other_names():
    with pytest.raises(ConfigError, match="'imagenet-s' is no subset of ImageNet-1k"):
        SubsetAccuracy('imagenet-s')
