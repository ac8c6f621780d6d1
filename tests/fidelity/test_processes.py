"""Metrics over 1, 2 and 3 processes with uneven shards: scikit-learn's on the whole."""

import numpy as np
import pytest
import torch
from mmpretrain.evaluation import Accuracy as TheirAccuracy
from mmpretrain.evaluation import ConfusionMatrix
from sklearn.metrics import accuracy_score, confusion_matrix, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from mae.apis import init_model, load_config
from mae.datasets import Digits, ShardSampler
from mae.evaluation import (
    Accuracy,
    AveragePrecision,
    Evaluator,
    GridAccuracy,
    MeanIoU,
    ReconstructionLoss,
)
from mae.utils.errors import NonFiniteError
from tests.evaluation.judge_average_precision import golden

COUNTS = (1, 2, 3)


def test_accuracy_is_sklearns(processes):
    logits, labels = torch.randn(37, 12), torch.randint(0, 12, (37,))
    sizes = set()

    def evaluate():
        metric, sampler = Accuracy((1, 5)), ShardSampler(labels, batch_size=5)
        ids = [[sample_id for sample_id, _ in batch] for batch in sampler]
        for batch in ids:
            metric.process(None, [{'logits': logits[batch], 'labels': labels[batch]}])
        return metric.evaluate(37), sum(map(len, ids))

    expected = {'top1': 100 * accuracy_score(labels, logits.argmax(1)), 'num_samples': 37}
    expected['top5'] = 100 * top_k_accuracy_score(labels, logits, k=5, labels=range(12))
    for number in COUNTS:
        for metrics, size in processes(number, evaluate):
            assert metrics == pytest.approx(expected, rel=1e-12)
            sizes.add((number, size))
    assert sizes == {(1, 37), (2, 18), (2, 19), (3, 12), (3, 13)}


def test_metrics_that_gather_samples_are_sklearns(processes, tmp_path, monkeypatch):
    """mmengine writes what it gathers below the current folder."""
    monkeypatch.chdir(tmp_path)
    logits, labels = torch.randn(37, 12), torch.randint(0, 12, (37,))

    def evaluate():
        evaluator = Evaluator([Accuracy(), TheirAccuracy((1, 5)), ConfusionMatrix()])
        for batch in ShardSampler(labels, batch_size=5):
            ids = [sample_id for sample_id, _ in batch]
            evaluator.process([{'logits': logits[ids], 'labels': labels[ids]}])
        found = evaluator.evaluate(37)
        return {name: torch.as_tensor(value).tolist() for name, value in found.items()}

    matrix = confusion_matrix(labels, logits.argmax(1), labels=range(12)).tolist()
    for number in COUNTS:
        for metrics in processes(number, evaluate):
            assert metrics['num_samples'] == 37
            assert metrics['confusion_matrix/result'] == matrix
            for k in (1, 5):
                assert metrics[f'accuracy/top{k}'] == pytest.approx(metrics[f'top{k}'])


def test_numbers_that_are_none_are_counted_over_all_processes(processes):
    logits, labels, losses = torch.randn(37, 3, 12), torch.randint(0, 12, (37,)), torch.rand(37)
    logits[[2, 36], 1, 5], losses[[1, 2, 36]] = float('nan'), float('inf')

    def evaluate():
        told = []
        for metric in (
            Accuracy(),
            GridAccuracy(),
            ReconstructionLoss(),
            Evaluator(TheirAccuracy()),
        ):
            for batch in ShardSampler(labels, batch_size=5):
                ids = [sample_id for sample_id, _ in batch]
                output = {'logits': logits[ids, 1], 'labels': labels[ids]}
                if isinstance(metric, Evaluator):
                    metric.process([output])
                    continue
                if isinstance(metric, GridAccuracy):
                    output |= {'logits': logits[ids], 'lr_scales': (1, 2, 3)}
                metric.process(None, [{**output, 'reconstruction_loss': losses[ids]}])
            try:
                metric.evaluate(37)
            except NonFiniteError as error:
                told.append(str(error).partition(':')[0])
        return told

    of_logits = 'the logits of 2 of 37 samples to evaluate are NaN or infinite'
    of_losses = 'the reconstruction loss of 3 of 37 images is NaN or infinite'
    for number in COUNTS:
        for told in processes(number, evaluate):
            assert told == [of_logits, of_logits, of_losses, of_logits]


def test_mean_iou_is_a_loop_over_pixels(processes):
    """Maps of many sizes, ignored pixels, a class that only predictions have, one of none."""
    sizes = [(int(h), int(w)) for h, w in torch.randint(2, 9, (13, 2))]
    preds = [torch.randint(0, 5, size) for size in sizes]
    maps = [torch.randint(0, 4, size, dtype=torch.int16) for size in sizes]
    for truth in maps:
        truth[truth == 3] = 255

    def evaluate():
        metric = MeanIoU()
        for batch in ShardSampler(maps, batch_size=3):
            some = [[values[n] for n, _ in batch] for values in (preds, maps)]
            metric.process(None, [{'pred_maps': some[0], 'maps': some[1], 'num_classes': 6}])
        return metric.evaluate(13)

    pairs = [
        (p, t)
        for pred, truth in zip(preds, maps, strict=True)
        for p, t in zip(pred.flatten().tolist(), truth.flatten().tolist(), strict=True)
        if t != 255
    ]
    hits = [sum(p == t == label for p, t in pairs) for label in range(5)]
    unions = [sum(label in pair for pair in pairs) for label in range(5)]
    expected = 100 * np.mean([hit / union for hit, union in zip(hits, unions, strict=True)])
    for number in COUNTS:
        for metrics in processes(number, evaluate):
            assert metrics['miou'] == pytest.approx(expected, abs=1e-9)
            assert metrics['num_images'] == 13


@pytest.mark.parametrize('iou', ['box', 'mask'])
def test_average_precision_is_pycocotools(iou, processes):
    for images, verdict in golden():

        def evaluate(images=images):
            metric = AveragePrecision(iou)
            for batch in ShardSampler(images, batch_size=2):
                metric.process(None, [images[n] for n, _ in batch])
            return metric.evaluate(len(images))

        for number in COUNTS[:2]:
            for metrics in processes(number, evaluate):
                found = {name: metrics.get(f'{iou}_{name}', -100) for name in verdict[iou]}
                assert found == pytest.approx(verdict[iou], abs=1e-9)


def features(model, split):
    digits = Digits(split)
    samples = [digits.get_data_info(index) for index in range(len(digits))]
    images = torch.stack([sample['img'] for sample in samples])
    inputs = model.data_preprocessor({'inputs': images}, False)['inputs']
    with torch.inference_mode():
        values = model.extract_features(inputs, 'avg')
    return values.double().numpy(), np.array([sample['gt_label'] for sample in samples])


def test_knn_is_sklearns(demo, make_runner, processes, tmp_path):
    """The shipped protocol: 1,437 digits in the bank, 360 to classify, 10 neighbours."""
    path, options = tmp_path / 'model.pth', dict(demo['small'])
    model = init_model(load_config(demo['knn'], options))
    torch.save({'state_dict': model.state_dict()}, path)

    (bank, bank_labels), (queries, labels) = features(model, 'train'), features(model, 'val')
    theirs = KNeighborsClassifier(
        10,
        metric='cosine',
        algorithm='brute',
        weights=lambda distances: np.exp((1 - distances) / 0.07),
    )
    scores = theirs.fit(bank, bank_labels).predict_proba(queries)
    top1 = 100 * accuracy_score(labels, scores.argmax(1))
    own = scores[np.arange(360), labels][:, None]  # in the top 5 only with a vote
    top5 = 100 * np.mean((own[:, 0] > 0) & ((scores >= own).sum(1) <= 5))

    options |= {'load_from': str(path), 'launcher': 'pytorch'}
    found = []
    for number in COUNTS:
        found += processes(number, lambda: make_runner(demo['knn'], options).test())
    assert len(found) == sum(COUNTS)
    assert all(metrics == found[0] for metrics in found)
    assert found[0]['top1'] == pytest.approx(top1, rel=1e-12)
    assert found[0]['top5'] == pytest.approx(top5, rel=1e-12)
    assert found[0]['num_samples'] == 360
