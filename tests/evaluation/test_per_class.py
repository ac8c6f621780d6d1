import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score

from mae.evaluation import Accuracy, PerClass
from mae.utils.errors import ConfigError, DataError


@pytest.fixture
def data():
    """300 images of 8 classes, the last without any; half of them easy."""
    labels = torch.randint(0, 7, (300,))
    logits = torch.randn(300, 8)
    logits[torch.arange(300), labels] += 1.5
    return logits, labels


def feed(metric, logits, labels, order=None, batch_size=50):
    order = torch.randperm(len(labels)) if order is None else order
    metric.dataset_meta = {'classes': ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h')}
    for part in order.split(batch_size):
        metric.process({'ids': part}, [{'logits': logits[part], 'labels': labels[part]}])
    return metric


def test_equals_sklearn(data):
    logits, labels = data
    metric = feed(PerClass(), logits, labels)
    found, predictions = metric.evaluate(300), logits.argmax(1)
    balanced = recall_score(labels, predictions, labels=range(7), average='macro')
    assert found == {'mean_per_class': pytest.approx(100 * balanced)}
    table = metric.table
    assert table['confusion'] == confusion_matrix(labels, predictions, labels=range(8)).tolist()
    recalls = recall_score(labels, predictions, labels=range(7), average=None)
    assert [row['top1'] for row in table['classes'][:7]] == pytest.approx(100 * recalls)
    assert table['classes'][7] == {'class': 'h', 'label': 7, 'images': 0, 'top1': None}
    assert sum(row['images'] for row in table['classes']) == 300


def test_the_surest_mistakes(data):
    logits, labels = data
    metric = feed(PerClass(num_mistakes=5), logits, labels)
    metric.evaluate(300)
    scores, predictions = logits.softmax(1).max(1)
    wrong = [n for n in range(300) if predictions[n] != labels[n]]
    wrong.sort(key=lambda n: -scores[n])
    assert metric.table['mistakes'] == [
        {
            'id': n,
            'label': int(labels[n]),
            'prediction': int(predictions[n]),
            'score': pytest.approx(float(scores[n])),
        }
        for n in wrong[:5]
    ]


def test_equal_mistakes_are_listed_by_id():
    logits, labels = torch.eye(2)[[0] * 40], torch.ones(40).long()
    found = []
    for batch_size in (1, 7, 40):
        metric = feed(PerClass(num_mistakes=6), logits, labels, batch_size=batch_size)
        metric.evaluate(40)
        found.append([row['id'] for row in metric.table['mistakes']])
    assert found == [list(range(6))] * 3


def test_two_processes_count_as_one(data, on_two):
    logits, labels = data
    order = torch.randperm(300)

    def evaluate(rank=None):
        part = order if rank is None else order[:7] if rank else order[7:]
        metric = feed(PerClass(num_mistakes=9), logits, labels, part, 11)
        metric.evaluate(300)
        return metric.table

    assert on_two(evaluate) == [evaluate()] * 2


def test_ties_count_as_in_accuracy():
    logits, labels = torch.randint(0, 3, (200, 6)).float(), torch.arange(200) % 6
    batch = {'logits': logits, 'labels': labels}
    accuracy, metric = Accuracy(1), PerClass()
    accuracy.process(None, [batch])
    metric.process(None, [batch])
    metric.evaluate(200)
    hits = sum(row[label] for label, row in enumerate(metric.table['confusion']))
    assert 100 * hits / 200 == accuracy.evaluate(200)['top1'] > 0
    assert metric.table['mistakes'][0]['id'] == -1  # nobody gave ids
    assert metric.table['classes'][3]['class'] == '3'  # nor names


def test_what_cannot_be_ranked_is_left_out():
    logits, labels = torch.eye(4), torch.tensor([0, 1, 2, 5])
    logits[1, 2] = torch.nan
    metric = feed(PerClass(), logits, labels)
    assert metric.evaluate(4) == {'mean_per_class': 100}
    assert sum(map(sum, metric.table['confusion'])) == 2


def test_no_matrix_of_very_many_classes():
    labels = torch.arange(2500)
    metric = feed(PerClass(), torch.eye(2500).roll(1, 0), labels, batch_size=1250)
    assert metric.evaluate(2500) == {'mean_per_class': 0}
    assert metric.table['confusion'] is None
    assert len(metric.table['classes']) == 2500


def test_starts_anew_after_each_evaluation(data):
    metric = PerClass()
    for _ in range(2):
        feed(metric, *data).evaluate(300)
        assert sum(map(sum, metric.table['confusion'])) == 300


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match='nothing to evaluate'):
        PerClass().evaluate(0)
    with pytest.raises(DataError, match='no image has a label'):
        feed(PerClass(), torch.randn(3, 8), torch.tensor([-1, 8, 9])).evaluate(3)
    with pytest.raises(ConfigError, match=r'^PerClass\.num_mistakes must be at least 1, not 0$'):
        PerClass(num_mistakes=0)
