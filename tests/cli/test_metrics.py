"""Metrics that cannot be computed are refused in one line."""

import json

import pytest
import torch
from PIL import Image


def test_a_metric_that_needs_what_there_is_not(tool, write_config, checkpoint, tmp_path):
    weights = checkpoint('ft')
    config = write_config("test_evaluator = dict(type='mmpretrain.VOCMultiLabelMetric')", 'ft')
    error = tool('test', config, weights, '--work-dir', tmp_path / 'run').error
    assert error.startswith("error: mmpretrain.VOCMultiLabelMetric needs 'gt_label_difficult' ")
    assert error.endswith(' pred_score, pred_label, gt_label, num_classes, sample_idx')


def test_weights_that_are_no_numbers(tool, write_config, checkpoint, tmp_path):
    path = checkpoint('ft')
    weights = torch.load(path, weights_only=True)
    weights['state_dict']['head.fc.weight'][0, 0] = float('nan')
    torch.save(weights, path)
    for evaluator in ('Accuracy', 'mmpretrain.Accuracy'):
        config = write_config(f'test_evaluator = dict(type={evaluator!r})', 'ft')
        result = tool('test', config, path, '--work-dir', tmp_path / 'run')
        assert 'logits of 360 of 360 samples ' in result.error


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
