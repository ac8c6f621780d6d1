import logging

import pytest
import torch
from mmengine.logging import MMLogger
from sklearn.metrics import top_k_accuracy_score

from mae.evaluation import Accuracy
from mae.utils.errors import ConfigError, DataError, NonFiniteError


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of the run's logger."""
    found = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [handler])
    return found


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


@pytest.mark.parametrize(
    ('num_classes', 'named'), [(2, {'top1'}), (5, {'top1'}), (6, {'top1', 'top5'})]
)
def test_a_k_that_would_always_hit_is_left_out(num_classes, named, warnings):
    metric, logits = Accuracy((1, 5)), torch.randn(20, num_classes)
    batch = {'logits': logits, 'labels': torch.randint(0, num_classes, (20,))}
    for _ in range(3):
        metric.process(None, [batch])
        assert set(metric.evaluate(20)) == {*named, 'num_samples'}
    told = f'top5 would always hit with {num_classes} classes and is left out'
    assert warnings == [told] * ('top5' not in named)  # once


@pytest.mark.parametrize(('topk', 'num_classes'), [((5,), 3), ((1,), 1)])
def test_nothing_left_to_tell(topk, num_classes):
    with pytest.raises(ConfigError, match=rf'none lies below the {num_classes} classes'):
        evaluate(torch.randn(4, num_classes), torch.zeros(4).long(), topk, 2)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_model_that_tells_nothing_apart_hits_nothing(dtype):
    found = evaluate(torch.full((30, 10), 2.5, dtype=dtype), torch.arange(30) % 10, (1, 5, 9), 7)
    assert [found[f'top{k}'] for k in (1, 5, 9)] == [0, 0, 0]


def test_ties_do_not_ask_for_the_order_of_classes():
    logits = torch.randint(0, 4, (300, 12)).float()  # few values: many ties
    labels, order = torch.randint(0, 12, (300,)), torch.randperm(12)
    found = evaluate(logits, labels, (1, 3), 50)
    assert evaluate(logits[:, order], order.argsort()[labels], (1, 3), 50) == found
    own = logits.gather(1, labels[:, None])
    for k in (1, 3):  # even if all tied classes came first
        hits = (logits >= own).sum(1) <= k
        assert 0 < hits.sum() < 300
        assert found[f'top{k}'] == pytest.approx(100 * hits.double().mean().item())


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_logits_that_are_no_numbers(value):
    metric, logits = Accuracy((1, 3)), torch.randn(10, 6)
    logits[[2, 7, 8], [0, 5, 3]] = value
    for part in range(0, 10, 4):
        batch = {
            'logits': logits[part : part + 4],
            'labels': torch.zeros(10).long()[part : part + 4],
        }
        metric.process(None, [batch])
    with pytest.raises(NonFiniteError, match=r'^the logits of 3 of 10 samples [^\n]*$'):
        metric.evaluate(10)
    metric.process(None, [{'logits': torch.eye(6), 'labels': torch.arange(6)}])
    assert metric.evaluate(6)['top1'] == 100


@pytest.mark.parametrize('topk', [0, (), (0, 1), (-1,), (1, 1), (1.5,), 1.5, ('1',), '15', (True,)])
def test_impossible_topk(topk):
    with pytest.raises(ConfigError, match=r'^Accuracy\.topk must be different whole numbers'):
        Accuracy(topk)


def test_one_k():
    assert Accuracy(3).topk == (3,)


@pytest.mark.parametrize(
    ('logits', 'labels', 'message'),
    [
        (torch.ones(4), torch.ones(4).long(), r'logits \(B, N\) of floats, not float32 \(4,\)'),
        (torch.ones(4, 3).long(), torch.ones(4).long(), r'of floats, not int64 \(4, 3\)'),
        (torch.ones(4, 0), torch.ones(4).long(), r'of floats, not float32 \(4, 0\)'),
        (torch.ones(4, 3), torch.ones(5).long(), r'\(4, 3\) need .* \(4,\) .* not int64 \(5,\)'),
        (torch.ones(4, 3), torch.ones(4, 3).long(), r'not int64 \(4, 3\)'),
        (torch.ones(4, 3), torch.ones(4), r'not float32 \(4,\)'),
        (torch.ones(4, 3), torch.ones(4).long().to('meta'), r' cpu, .*labels on meta'),
        ([[1.0, 2.0]], torch.ones(1).long(), 'the logits must .* list'),
        (torch.ones(4, 3), [0, 1, 2, 0], 'the labels must .* list'),
    ],
)
def test_shapes_and_types_that_do_not_fit(logits, labels, message):
    with pytest.raises(ValueError, match=rf'^[^\n]*{message}$'):
        Accuracy().process(None, [{'logits': logits, 'labels': labels}])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32])
def test_labels_of_any_whole_type(dtype):
    labels = torch.arange(6)
    assert evaluate(torch.eye(6), labels.to(dtype), (1,), 6) == evaluate(
        torch.eye(6), labels, (1,), 6
    )


def test_a_model_that_does_not_classify():
    with pytest.raises(
        ConfigError, match=r'^Accuracy needs the logits .* gives reconstruction_loss$'
    ):
        Accuracy().process(None, [{'reconstruction_loss': torch.ones(2)}])


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match='nothing to evaluate'):
        Accuracy().evaluate(0)
    metric = Accuracy()
    metric.process(None, [{'logits': torch.ones(0, 8), 'labels': torch.ones(0).long()}])
    with pytest.raises(DataError, match='nothing to evaluate'):
        metric.evaluate(0)


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
    with pytest.raises(DataError, match=r'^2 of 4 labels [^\n]*no logit[^\n]*$'):
        evaluate(torch.randn(4, 3), labels, (1,), 3)


def test_a_model_of_another_number_of_classes_is_refused_at_the_first_batch():
    metric = Accuracy((1,), num_classes=6)
    with pytest.raises(ConfigError, match=r'has 10 classes, .* with 6: evaluate [^\n]*=6$'):
        metric.process(None, [{'logits': torch.randn(2, 10), 'labels': torch.tensor([0, 1])}])
    metric.process(None, [{'logits': torch.eye(6), 'labels': torch.arange(6)}])
    assert metric.evaluate(6)['top1'] == 100
