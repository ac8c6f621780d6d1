import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from mae.evaluation import Accuracy, GridAccuracy
from mae.utils.errors import NonFiniteError

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
    with pytest.raises(ValueError, match=r'^GridAccuracy: topk must .* \[5\]$'):
        GridAccuracy((5,))
    with pytest.raises(ValueError, match=r'^the logits must .* list$'):
        GridAccuracy().process(None, [{**plain, 'logits': [[1.0]], 'lr_scales': (1.0,)}])


def test_of_equally_good_rates_the_smallest():
    logits = torch.eye(6)[:, None].repeat(1, 3, 1)
    metric = GridAccuracy((1,))
    metric.process(None, [{'logits': logits, 'labels': torch.arange(6), 'lr_scales': (4, 0.5, 1)}])
    found = metric.evaluate(6)
    assert (found['top1'], found['best_lr_scale']) == (100, 0.5)


def test_a_member_without_numbers():
    labels, logits = torch.randint(0, 6, (10,)), torch.randn(10, 3, 6)
    logits[4, 1, 2] = float('nan')
    with pytest.raises(NonFiniteError, match=r'^the logits of 1 of 10 samples'):
        evaluate(logits, labels, (1, 3), 4)


def test_few_classes_and_rates_of_another_number():
    assert 'top5' not in evaluate(torch.randn(8, 3, 4), torch.zeros(8).long(), (1, 5), 8)
    with pytest.raises(
        ValueError, match=r'3 lr_scales need logits \(B, 3, N\), not float32 \(8, 2, 4\)'
    ):
        evaluate(torch.randn(8, 2, 4), torch.zeros(8).long(), (1, 5), 8)
