"""Two processes on the CPU do what one does.

They are forks, which share what this one has imported; `test_launchers.py` starts such by
`tools/dist_train.sh`, and looks at what `tools/dist_test.sh` would start. Among the metrics are
those of mmengine and mmpretrain, named in the config.
"""

import json

import pytest
import torch
from mmengine.fileio import load

from tests.forked import in_two_processes

NO_DROP_PATH = 'model.encoder.drop_path_rate=0.0'  # it depends on the process


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


def logged(work_dir):
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.timeout(300)
def test_two_processes_train_and_test_as_one(
    train, tool, write_config, work_dir, text, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # mmengine gathers the samples of all processes in files below it
    folders = {'two': tmp_path / 'two', 'one': work_dir}
    config = write_config(text, 'ft')
    whole = ['--batch-per-device', '50']
    assert train(NO_DROP_PATH, base='ft', text=text, arguments=whole).code == 0
    words = [config, '--work-dir', folders['two'], '--batch-per-device', '25']
    words += ['--launcher', 'pytorch', '--cfg-options', NO_DROP_PATH]
    assert in_two_processes(lambda: tool('train', *words).code) == [0, 0]
    logs = {name: logged(folder) for name, folder in folders.items()}
    two, one = ([line for line in logs[name] if 'loss' in line][-1] for name in ('two', 'one'))
    assert two['loss'] == pytest.approx(one['loss'], rel=1e-5)
    assert two['lr'] == one['lr']
    for lines in logs.values():
        assert 0 <= lines[-1]['single-label/recall'] <= 100
    weights = [torch.load(folder / 'epoch_1.pth') for folder in folders.values()]
    for name, value in weights[1]['state_dict'].items():
        torch.testing.assert_close(weights[0]['state_dict'][name], value, rtol=1e-3, atol=1e-5)

    checkpoint = work_dir / 'epoch_1.pth'
    outs = [tmp_path / 'one.json', tmp_path / 'two.json']
    options = '--work-dir', tmp_path / 'tested', '--out'
    result = tool('test', config, checkpoint, *options, outs[0])
    assert result.code == 0, result.stderr
    words = [config, checkpoint, *options, outs[1], '--launcher', 'pytorch']
    assert in_two_processes(lambda: tool('test', *words).code) == [0, 0]
    check_metrics(*(json.loads(out.read_text()) for out in outs), tmp_path / 'results.pkl')


def check_metrics(one, two, results):
    """Each image counts once in every metric, and all agree."""
    # Average precision depends on the order of equal scores, and so on that of the processes.
    assert one.pop('multi-label/mAP') == pytest.approx(two.pop('multi-label/mAP'), rel=1e-3)
    assert one == two
    assert one['num_samples'] == sum(map(sum, one['confusion_matrix/result'])) == 360
    for k in (1, 5):
        assert one[f'accuracy/top{k}'] == pytest.approx(one[f'top{k}'])
    samples = load(results)  # of the two processes
    assert sorted(sample['sample_idx'] for sample in samples) == list(range(360))
    hits = sum(torch.equal(sample['pred_label'], sample['gt_label']) for sample in samples)
    assert one['top1'] == pytest.approx(100 * hits / 360)
