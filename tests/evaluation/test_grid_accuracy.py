import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from mae.evaluation import Accuracy, GridAccuracy

SCALES = (0.5, 1.0, 4.0)


def evaluate(logits, labels, topk, batch_size):
    metric = GridAccuracy(topk)
    for x, y in zip(logits.split(batch_size), labels.split(batch_size), strict=True):
        metric.process(None, [{'logits': x, 'labels': y, 'lr_scales': SCALES}])
    return metric.evaluate(len(logits))


@pytest.mark.parametrize('batch_size', [7, 200])
def test_equals_sklearn(batch_size):
    labels = torch.randint(0, 6, (200,))
    logits = torch.randn(200, 3, 6)
    logits[torch.arange(200), 2, labels] += 1  # the last member is the best
    found = evaluate(logits, labels, (1, 3), batch_size)
    for n, scale in enumerate(SCALES):
        expected = top_k_accuracy_score(labels, logits[:, n], k=1, labels=range(6))
        assert found[f'top1_lr_x{scale:g}'] == pytest.approx(100 * expected)
    assert found['best_lr_scale'] == 4
    for k in (1, 3):
        expected = top_k_accuracy_score(labels, logits[:, 2], k=k, labels=range(6))
        assert found[f'top{k}'] == pytest.approx(100 * expected)
    assert found['num_samples'] == 200


def test_the_wrong_metric():
    grid = {'logits': torch.randn(4, 3, 6), 'labels': torch.zeros(4).long()}
    with pytest.raises(ValueError, match=r"need val_evaluator.type='GridAccuracy'$"):
        Accuracy().process(None, [grid])
    plain = {**grid, 'logits': grid['logits'][:, 0]}
    with pytest.raises(ValueError, match=r'^GridAccuracy needs a head with lr_scales'):
        GridAccuracy().process(None, [plain])
    with pytest.raises(ValueError, match=r'^GridAccuracy: topk must have 1 in it, got \[5\]$'):
        GridAccuracy((5,))
