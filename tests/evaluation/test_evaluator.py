"""Metrics of mmengine and mmpretrain, beside ours, on what our models give."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, DumpResults
from mmengine.fileio import load
from mmpretrain import evaluation as theirs
from mmpretrain.structures import DataSample
from sklearn.metrics import average_precision_score, confusion_matrix, precision_score

from mae.evaluation import Accuracy, Evaluator, GridAccuracy, ReconstructionLoss
from mae.utils.errors import ConfigError, DataError, NonFiniteError

SIZE = 60


@pytest.fixture
def batch():
    logits, labels = torch.randn(SIZE, 8), torch.randint(0, 8, (SIZE,))
    logits[torch.arange(SIZE), labels] += 1
    return {'logits': logits, 'labels': labels}


def evaluate(metrics, output, batch_size=7):
    evaluator = Evaluator(metrics)
    for ids in torch.arange(SIZE).split(batch_size):
        evaluator.process([{name: value[ids] for name, value in output.items()}], {'ids': ids})
    return evaluator.evaluate(SIZE)


def test_metrics_of_mmpretrain_are_sklearns(batch):
    metrics = [
        Accuracy((1, 5)),
        theirs.Accuracy((1, 5)),
        theirs.SingleLabelMetric(),
        theirs.ConfusionMatrix(),
        theirs.MultiLabelMetric(topk=1),
        theirs.AveragePrecision(),
    ]
    found = evaluate(metrics, batch)
    scores, labels = batch['logits'].softmax(1), batch['labels']
    assert found['num_samples'] == SIZE
    for k in (1, 5):
        assert found[f'accuracy/top{k}'] == pytest.approx(found[f'top{k}'])
    matrix = confusion_matrix(labels, scores.argmax(1), labels=range(8))
    assert found['confusion_matrix/result'].tolist() == matrix.tolist()
    precision = 100 * precision_score(labels, scores.argmax(1), average='macro')
    assert found['single-label/precision'] == pytest.approx(precision)
    assert found['multi-label/precision_top1'] == pytest.approx(precision)
    mean_ap = average_precision_score(np.eye(8)[labels], scores, average='macro')
    assert found['multi-label/mAP'] == pytest.approx(100 * mean_ap, rel=1e-5)


def test_dumped_results_are_all_samples(batch, tmp_path):
    path = tmp_path / 'results.pkl'
    evaluate(DumpResults(str(path)), batch)
    samples = load(path)
    assert [sample['sample_idx'] for sample in samples] == list(range(SIZE))
    scores = torch.stack([sample['pred_score'] for sample in samples])
    torch.testing.assert_close(scores, batch['logits'].softmax(1))
    assert torch.cat([sample['gt_label'] for sample in samples]).equal(batch['labels'])
    assert torch.cat([sample['pred_label'] for sample in samples]).equal(scores.argmax(1))
    assert {sample['num_classes'] for sample in samples} == {8}
    assert path.stat().st_size < SIZE * 2000  # a sample does not bring its batch along


def test_only_counting_metrics_make_no_samples(batch, monkeypatch):
    monkeypatch.setattr('mae.evaluation.evaluator.split_batch', None)
    assert evaluate([Accuracy((1, 5))], batch)['num_samples'] == SIZE


def test_samples_of_pre_training(tmp_path):
    path, losses = tmp_path / 'results.pkl', torch.rand(SIZE)
    found = evaluate(
        [ReconstructionLoss(), DumpResults(str(path))], {'reconstruction_loss': losses}
    )
    assert found['reconstruction_error'] == pytest.approx(losses.double().mean().item())
    samples = load(path)
    assert [float(sample['reconstruction_loss']) for sample in samples] == losses.tolist()
    with pytest.raises(
        ConfigError,
        match=r"^mmpretrain\.Accuracy needs 'pred_label' .* gives reconstruction_loss, sample_idx$",
    ):
        evaluate(theirs.Accuracy(), {'reconstruction_loss': losses})


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        (theirs.VOCMultiLabelMetric(), r"VOCMultiLabelMetric needs 'gt_label_difficult'"),
        (theirs.VisualGroundingMetric(), r"VisualGroundingMetric needs 'pred_bboxes'"),
        (theirs.VQAAcc(), r'VQAAcc fails with "\w+: '),
    ],
)
def test_metrics_that_need_what_there_is_not(batch, metric, message):
    with pytest.raises(ConfigError, match=rf'^mmpretrain\.{message}[^\n]*gives pred_score, pred_'):
        evaluate(metric, batch)


def test_a_grid_is_no_one_classifier():
    output = {'logits': torch.randn(SIZE, 3, 8), 'labels': torch.zeros(SIZE).long()}
    with pytest.raises(ValueError, match=r"^mmpretrain\.Accuracy takes .*type='GridAccuracy'$"):
        Evaluator([GridAccuracy(), theirs.Accuracy()]).process([{**output, 'lr_scales': (1, 2, 3)}])


@pytest.mark.parametrize('metric', [theirs.Accuracy, theirs.ConfusionMatrix])
def test_numbers_that_they_would_rank_in_silence(batch, metric):
    batch['logits'][[3, 50]] = float('nan')
    with pytest.raises(NonFiniteError, match=rf'^the logits of 2 of {SIZE} samples'):
        evaluate(metric(), batch)
    unknown = batch['labels'].index_fill(0, torch.tensor([7]), -1)
    with pytest.raises(DataError, match=rf'^1 of {SIZE} labels .*no logit'):
        evaluate(metric(), {'logits': torch.randn(SIZE, 8), 'labels': unknown})


def test_anew_after_each_evaluation(batch):
    evaluator = Evaluator([theirs.Accuracy()])
    evaluator.process([{**batch, 'logits': batch['logits'] * float('nan')}])
    with pytest.raises(NonFiniteError):
        evaluator.evaluate(SIZE)
    for _ in range(2):
        evaluator.process([batch])
        assert 0 < evaluator.evaluate(SIZE)['accuracy/top1'] < 100


def test_samples_of_another_model_pass_through():
    samples = [DataSample().set_gt_label(n % 3).set_pred_score(torch.eye(3)[0]) for n in range(6)]
    evaluator = Evaluator([theirs.Accuracy()])
    evaluator.process(samples)
    assert evaluator.evaluate(6)['accuracy/top1'] == pytest.approx(100 / 3)


class Own(BaseMetric):
    """A user's own, with a mistake."""

    default_prefix = 'own'

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_score'].no_such_thing for sample in data_samples]

    def compute_metrics(self, results):
        return {}


def test_a_mistake_in_a_metric_of_ones_own_stays_what_it_is(batch):
    with pytest.raises(AttributeError, match='no_such_thing'):
        evaluate(Own(), batch)


class Number(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return len(results)


def test_a_number_without_a_name(batch):
    with pytest.raises(ConfigError, match=r'Number: compute_metrics must .* not 60'):
        evaluate([Number()], batch)


def test_one_name_of_two_metrics(batch):
    with pytest.raises(ConfigError, match=r'Accuracy gives accuracy/top1, which .* prefix'):
        evaluate([theirs.Accuracy(), theirs.Accuracy()], batch)
