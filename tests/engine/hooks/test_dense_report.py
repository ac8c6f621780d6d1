"""The page of a dense run: there after each validation, whole, and about this run alone."""

import re
from itertools import count

import pytest

from mae.apis import load_config, report_runs, train
from mae.engine.hooks import DenseReportHook
from mae.visualization.dense_report import validations_in
from mae.visualization.runs import record
from mae.visualization.runs.logs import with_steps
from tests.dense_runs import DETECTOR, SEGMENTER

# mmengine keeps loggers by name, and names a run by the second it starts in.
_NUMBER = count()


def run(tmp_path, text, **changes):
    path = tmp_path / 'small.py'
    path.write_text(text)
    changes['experiment_name'] = f'dense-report-{next(_NUMBER)}'
    config = load_config(path, {'work_dir': str(tmp_path / 'work'), **changes})
    train(config)
    return tmp_path / 'work'


def pictures(page):
    return re.findall(r'<img src="(data:image/png;base64,[^"]+)" alt="([^"]*)"', page)


def test_a_segmenter_leaves_a_page_that_goes_on_after_a_resume(tmp_path, monkeypatch):
    reads = []
    read = record.read_scalars
    monkeypatch.setattr(record, 'read_scalars', lambda path: reads.append(path) or read(path))
    work = run(tmp_path, SEGMENTER, **{'train_cfg.max_epochs': 1})
    first = (work / 'report.html').read_text()
    assert 'One validation so far' in first
    assert len(pictures(first)) == 3 * 6
    assert len(reads) == 1  # once a validation
    assert 'Learning curves' in first  # of training, from `RunReportHook`
    for word in ('http://', 'https://', '<link'):
        assert word not in first.replace('http://www.w3.org', '')
    run(tmp_path, SEGMENTER, resume=True)
    second = (work / 'report.html').read_text()
    assert 'After 4 steps' in second
    (points,) = re.findall(r'<(?:polyline|path)[^>]*(?:points|d)="([^"]+)"', second)[:1]
    assert len(points.split()) >= 2  # the validation before the resume is part of the curve
    sheets = list(work.glob('*/vis_data/vis_image/predictions_*.png'))
    assert {path.name for path in sheets} == {'predictions_2.png', 'predictions_4.png'}
    for config in work.glob('*/vis_data/config.py'):
        config.unlink()  # tests write it in another format
    report_runs([work])
    again = (work / 'report.html').read_text()
    assert pictures(again) == pictures(second)
    assert 'After 4 steps' in again


def test_a_detector_leaves_a_page(tmp_path):
    changes = {'train_cfg.max_epochs': 1, 'default_hooks.dense_report.num_images': 2}
    text = DETECTOR + 'default_hooks = dict(dense_report=dict(type="DenseReportHook"))\n'
    work = run(tmp_path, text, **changes)
    page = (work / 'report.html').read_text()
    assert page.count('<img ') == 3 * 2
    assert 'box_ap' in page
    assert 'mask_ap' in page


def test_the_hook_can_be_left_out(tmp_path):
    text = SEGMENTER + 'default_hooks = dict(dense_report=None)\n'
    work = run(tmp_path, text, **{'train_cfg.max_epochs': 1})
    page = (work / 'report.html').read_text()
    assert '<img ' not in page
    assert '<svg' in page


def test_a_page_that_cannot_be_written_does_not_stop_the_run(tmp_path, capsys):
    (tmp_path / 'work' / 'report.html').mkdir(parents=True)
    work = run(tmp_path, SEGMENTER, **{'train_cfg.max_epochs': 1})
    assert (work / 'epoch_1.pth').is_file()
    assert 'no report.html' in ''.join(capsys.readouterr())


def test_options_that_cannot_be():
    for options in (dict(num_images=0), dict(min_score=-0.1)):
        with pytest.raises(ValueError, match='num_images from 1 on and min_score in'):
            DenseReportHook(**options)


def test_validations_have_the_step_of_the_lines_before_them():
    records = [
        {'loss': 2.0, 'iter': 5, 'step': 5},
        {'miou': 10.0, 'step': 1, 'time': 0.1},
        {'loss': 1.0, 'iter': 10, 'step': 10},
        {'miou': 20.0, 'box_ap': 3.0, 'step': 2},
    ]
    found = validations_in(with_steps(records))
    assert found == [(5, {'miou': 10.0}), (10, {'miou': 20.0, 'box_ap': 3.0})]
