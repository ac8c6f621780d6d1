"""Metrics of mmengine and mmpretrain, named in a config: on one process and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.fileio import load
from PIL import Image

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def text(tmp_path):
    """Of a config with metrics of every kind, in training and test."""
    return f"""
val_evaluator = [dict(type='Accuracy'), dict(type='mmpretrain.SingleLabelMetric')]
test_evaluator = [
    dict(type='Accuracy'),
    dict(type='mmpretrain.Accuracy', topk=(1, 5)),
    dict(type='mmpretrain.SingleLabelMetric', average=None),
    dict(type='mmpretrain.ConfusionMatrix'),
    dict(type='mmpretrain.AveragePrecision'),
    dict(type='mmengine.DumpResults', out_file_path={str(tmp_path / 'results.pkl')!r}),
]
"""


@pytest.mark.timeout(300)
def test_metrics_of_sister_libraries(train, tool, write_config, work_dir, text, tmp_path):
    assert train(base='ft', text=text).code == 0
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    assert 0 <= json.loads(log.read_text().splitlines()[-1])['single-label/recall'] <= 100

    config, checkpoint = write_config(text, 'ft'), work_dir / 'epoch_1.pth'
    outs = tmp_path / 'one.json', tmp_path / 'two.json'
    result = tool('test', config, checkpoint, '--work-dir', tmp_path / 'one', '--out', outs[0])
    assert result.code == 0, result.stderr
    two = subprocess.run(
        [TOOLS / 'dist_test.sh', config, checkpoint, '2', '--work-dir', 'two', '--out', outs[1]],
        env={**os.environ, 'PYTHON': sys.executable},
        cwd=tmp_path,  # mmengine gathers the samples of all processes in files below it
        capture_output=True,
        text=True,
    )
    assert two.returncode == 0, two.stderr

    found = [json.loads(out.read_text()) for out in outs]
    # Average precision depends on the order of equal scores, and so on that of the processes.
    assert found[0].pop('multi-label/mAP') == pytest.approx(
        found[1].pop('multi-label/mAP'), rel=1e-3
    )
    assert found[0] == found[1]
    assert found[0]['num_samples'] == sum(map(sum, found[0]['confusion_matrix/result'])) == 360
    for k in (1, 5):
        assert found[0][f'accuracy/top{k}'] == pytest.approx(found[0][f'top{k}'])
    samples = load(tmp_path / 'results.pkl')  # of the two processes
    assert sorted(sample['sample_idx'] for sample in samples) == list(range(360))
    hits = sum(torch.equal(sample['pred_label'], sample['gt_label']) for sample in samples)
    assert found[0]['top1'] == pytest.approx(100 * hits / 360)


def test_a_metric_that_needs_what_there_is_not(tool, write_config, checkpoint, tmp_path):
    weights = checkpoint('ft')
    config = write_config("test_evaluator = dict(type='mmpretrain.VOCMultiLabelMetric')", 'ft')
    assert tool('test', config, weights, '--work-dir', tmp_path / 'run').error == (
        "error: mmpretrain.VOCMultiLabelMetric needs 'gt_label_difficult' of each sample; this "
        'model gives pred_score, pred_label, gt_label, num_classes, sample_idx'
    )


def test_weights_that_are_no_numbers(tool, write_config, checkpoint, tmp_path):
    path = checkpoint('ft')
    weights = torch.load(path, weights_only=True)
    weights['state_dict']['head.fc.weight'][0, 0] = float('nan')
    torch.save(weights, path)
    for evaluator in ('Accuracy', 'mmpretrain.Accuracy'):
        config = write_config(f'test_evaluator = dict(type={evaluator!r})', 'ft')
        result = tool('test', config, path, '--work-dir', tmp_path / 'run')
        assert result.error.startswith('error: the logits of 360 of 360 samples to evaluate are')


def test_per_class(train, tool, write_config, work_dir, tmp_path):
    text = "test_evaluator = [dict(type='Accuracy'), dict(type='PerClass', num_mistakes=10)]"
    assert train(base='ft', text=text).code == 0
    config, out = write_config(text, 'ft'), tmp_path / 'metrics.json'
    result = tool('test', config, work_dir / 'epoch_1.pth', '--work-dir', work_dir, '--out', out)
    assert result.code == 0, result.stderr
    metrics = json.loads(out.read_text())
    table = json.loads((work_dir / 'per_class.json').read_text())
    assert table['mean_per_class'] == metrics['mean_per_class']
    assert [row['class'] for row in table['classes']] == list('0123456789')
    hits = sum(table['confusion'][label][label] for label in range(10))
    assert 100 * hits / 360 == pytest.approx(metrics['top1'])
    assert len(table['mistakes']) == 10
    assert table['mistakes'][0]['path'] == f'sample {table["mistakes"][0]["id"]}'
    for name, width in (('confusion', 360), ('mistakes', 6 * 128)):
        with Image.open(work_dir / f'{name}.png') as picture:
            assert picture.width > width
