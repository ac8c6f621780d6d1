import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from mae.evaluation import Accuracy
from mae.utils.errors import DataError


def evaluate(logits, labels, topk, batch_size):
    metric = Accuracy(topk)
    for start in range(0, len(logits), batch_size):
        part = slice(start, start + batch_size)
        metric.process(None, [{'logits': logits[part], 'labels': labels[part]}])
    return metric.evaluate(len(logits))


@pytest.mark.parametrize('batch_size', [1, 7, 200])
def test_equals_sklearn(batch_size):
    logits, labels = torch.randn(200, 12), torch.randint(0, 12, (200,))
    found = evaluate(logits, labels, (1, 3, 5), batch_size)
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=range(12))
        assert found[f'top{k}'] == pytest.approx(100 * expected)
    assert found['num_samples'] == 200


def test_more_guesses_than_classes_hit_always():
    found = evaluate(torch.randn(20, 3), torch.randint(0, 3, (20,)), (1, 5), 6)
    assert found['top5'] == 100


def test_starts_anew_after_each_evaluation():
    metric = Accuracy((1,))
    for label, expected in ((0, 100), (1, 0)):
        batch = {'logits': torch.tensor([[1.0, 0.0]]), 'labels': torch.tensor([label])}
        metric.process(None, [batch])
        assert metric.evaluate(1) == {'top1': expected, 'num_samples': 1}


def test_names_are_plain():
    assert set(evaluate(torch.randn(4, 6), torch.zeros(4).long(), (1, 5), 2)) == {
        *('top1', 'top5', 'num_samples')
    }


@pytest.mark.parametrize('label', [-1, 3])
def test_labels_that_no_logit_stands_for(label):
    labels = torch.tensor([0, label, 2, label])
    with pytest.raises(DataError, match=r'^2 of 4 labels to evaluate have no logit: [^\n]*$'):
        evaluate(torch.randn(4, 3), labels, (1,), 3)
