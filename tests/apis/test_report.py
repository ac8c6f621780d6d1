"""`mae report` of folders: the page of one run, several together, and what it refuses."""

import json
import math
import re
from html import unescape

import pytest

from mae.apis import report_runs
from mae.utils.errors import ConfigError, DataError
from mae.visualization.dense_report import DenseResult, write_result
from mae.visualization.report import PNG
from mae.visualization.runs.record import PREDICTIONS


def config_text(kind='MAE', seed=0, rate=1.0):
    return (
        f"base_lr = {rate}\nglobal_batch_size = 32\nmodel = dict(type='{kind}')\n"
        f'randomness = dict(seed={seed})\ntrain_cfg = dict(max_epochs=4)\n'
    )


@pytest.fixture
def run(tmp_path):
    """run(name, config): the work dir of a run that had no hook for the report."""

    def make(name='run', text=None, losses=(4.0, 2.0, 1.0, 0.5)):
        folder = tmp_path / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        rows = [
            {'loss': loss, 'epoch': 1 + i // 2, 'iter': i + 1, 'step': i + 1, 'time': 0.5}
            for i, loss in enumerate(losses)
        ]
        (folder / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows))
        (folder / 'config.py').write_text(config_text() if text is None else text)
        return tmp_path / name

    return make


RESULT = DenseResult(
    title='a <run>',
    step=4,
    metrics={'miou': math.nan, 'pixel_accuracy': 50.0},
    cards=[('1.png', [('image', PNG + 'QQ=='), ('prediction', PNG + 'Qg==')])],
    colours=[('<cat>', '#1d5fd1')],
    facts={'seed': '3'},
)


def test_the_page_of_a_segmenter_keeps_its_pictures(run):
    work_dir = run()
    (scalars,) = work_dir.rglob('scalars.json')
    write_result(scalars.parent, RESULT)
    page = report_runs([work_dir]).read_text()
    assert re.findall(r'<img src="([^"]+)" alt="([^"]+)"', page) == [
        (PNG + 'QQ==', '1.png image'),
        (PNG + 'Qg==', '1.png prediction'),
    ]
    assert '&lt;cat&gt;' in page
    assert 'pixel_accuracy' in page
    assert 'Learning curves' in page


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('"step": 4', '"step": "4"'), (PNG, 'https://somewhere/'), ('#1d5fd1', 'url(x)'), ('}', ''),
        ('"a <run>"', 'null'), ('"1.png"', '1'), ('"image"', '[]'), ('"<cat>"', '7'), ('"3"', '3'),
        ('50.0', '1' + '0' * 400),
    ],
)  # fmt: skip
def test_predictions_that_are_none_of_ours_are_left_out(run, before, after):
    work_dir = run()
    (scalars,) = work_dir.rglob('scalars.json')
    write_result(scalars.parent, RESULT)
    file = scalars.parent / PREDICTIONS
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    assert '<img' not in report_runs([work_dir]).read_text()


def text_of(path):
    return unescape(re.sub(r'<[^>]+>', ' ', path.read_text()))


def test_a_run_without_hook_has_a_page_of_what_it_logged(run):
    work_dir = run()
    path = report_runs([work_dir])
    assert path == work_dir / 'report.html'
    text = text_of(path)
    assert 'MAE, step 4 of 8, epoch 2' in text  # two steps an epoch, four epochs
    assert '64' in text  # images per second
    assert 'it trained without RunReportHook' in text


def test_seeds_are_averaged_and_other_runs_are_not(run, tmp_path):
    runs = [
        run('a0', config_text(seed=0)),
        run('a1', config_text(seed=1), losses=(8.0, 4.0, 2.0, 1.5)),
        run('b', config_text(rate=2.0)),
    ]
    text = text_of(report_runs(runs, tmp_path / 'deep' / 'page.html'))
    assert '1 ± 0.71' in text
    assert 'mean of seeds 0, 1' in text
    assert re.search(r'base_lr\s+1\.0\s+2\.0', text)
    assert 'randomness.seed' not in text


def test_the_same_run_twice_is_no_two_seeds(run, tmp_path):
    text = text_of(report_runs([run('a'), run('b')], tmp_path / 'page.html'))
    assert 'mean of' not in text
    assert 'No value of the configs differs' in text


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda run, place: [place / 'nowhere'], 'nowhere does not exist: give the work dir'),
        (lambda run, place: [place], r'holds no <start>/vis_data/scalars\.json'),
        (lambda run, place: [run(losses=())], 'no training step has been logged yet'),
        (
            lambda run, place: [run('a'), run('b', config_text('Classifier'))],
            'different kinds cannot be compared: .*b trains a Classifier, .*a trains a MAE',
        ),
        (
            lambda run, place: [run(f'r{i}', config_text(rate=float(i))) for i in range(7)],
            '7 runs that differ in more than the seed: a page compares up to 6',
        ),
        (lambda run, place: [run(text='import os')], r'config\.py: no config as a run leaves it'),
        (lambda run, place: [], 'at least one run'),
    ],
)
def test_what_is_no_report_is_said_in_one_line(run, tmp_path, make, message):
    with pytest.raises((ConfigError, DataError), match=message) as error:
        report_runs(make(run, tmp_path), tmp_path / 'page.html')
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'page.html').exists()


def test_a_damaged_line_names_file_and_line(run):
    work_dir = run()
    (scalars,) = work_dir.rglob('scalars.json')
    scalars.write_text('{"loss": 1.0, "iter": 1, "step": 1}\n{"loss\n')
    with pytest.raises(DataError, match=r'scalars\.json:2: not a line of JSON'):
        report_runs([work_dir])
