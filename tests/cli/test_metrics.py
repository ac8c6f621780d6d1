"""Metrics that cannot be computed are refused in one line."""

import torch


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
