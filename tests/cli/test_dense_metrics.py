"""`tools/test.py --out` of segmenters and detectors: figures of each class beside the means."""

import json

import numpy as np
import pytest
import torch

from mae.apis import init_model, load_config
from tests.dense_runs import DETECTOR, SEGMENTER


@pytest.mark.parametrize(
    ('text', 'tables'),
    [(SEGMENTER, {'iou': 'miou'}), (DETECTOR, {'box_ap': None, 'mask_ap': None})],
)
def test_the_file_has_the_figures_of_each_class(tool, tmp_path, text, tables):
    config, weights, out = (tmp_path / name for name in ('small.py', 'w.pth', 'metrics.json'))
    config.write_text(text)
    torch.manual_seed(1)
    torch.save({'state_dict': init_model(load_config(config)).state_dict()}, weights)
    result = tool('test', config, weights, '--work-dir', tmp_path / 'work', '--out', out)
    assert result.code == 0, result.stderr
    metrics = json.loads(out.read_text())
    assert set(metrics['per_class']) == set(tables)
    for name, rows in metrics['per_class'].items():
        figure = tables[name] or name
        values = [row['iou' if name == 'iou' else 'ap'] for row in rows]
        known = [value for value in values if value is not None]
        assert np.mean(known) == pytest.approx(metrics[figure], abs=1e-9)
        assert all(isinstance(row['class'], str) for row in rows)
    if 'iou' in tables:
        assert [row['class'] for row in metrics['per_class']['iou']] == ['canvas', *'0123456789']
