"""`RunReportHook` shows a run and has no part in it."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.engine.hooks import RunReportHook
from mae.utils.digest import weights_sha256
from mae.utils.errors import ConfigError
from mae.visualization.runs.record import read_facts
from tests.engine.lives import Killed, train_life

PIXELS = {
    'model.target.norm_pix': True,
    'default_hooks.checkpoint': dict(interval=3, by='iter', max_keep=-1),  # within an epoch
}
REPORT = {'default_hooks.run_report': dict(type='RunReportHook', seconds=0)}


class StopAt(Hook):
    """Ends the run after the step of that number, as a kill does."""

    def __init__(self, step):
        self.step = step

    def after_step(self, runner):
        if runner.iter == self.step:
            raise Killed


def scalars(work_dir, *names):
    """By step what was logged under these names, from the newest file."""
    path = max(Path(work_dir).glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row['step'], *(row[n] for n in names)) for row in rows if set(names) <= set(row)]


def pictures(work_dir):
    newest = max(Path(work_dir).glob('*/vis_data'))
    return {path.name: path.read_bytes() for path in newest.glob('reconstructions/*.png')}


@pytest.fixture
def trained(make_runner):
    """Runs of three epochs by folder: without the hook, with it, and with it and resumed."""

    def train(folder, changes, stop=None, life=''):
        runner = make_runner(folder, {**PIXELS, **changes})
        return train_life(runner, life, None if stop is None else StopAt(stop))

    return train


def test_a_run_is_the_same_with_it_and_goes_on_with_its_page(trained):
    plain = trained('plain', {})
    whole = trained('whole', REPORT)
    trained('cut', REPORT, stop=7, life=1)
    resumed = trained('cut', {**REPORT, 'resume': True}, life=2)
    digests = {weights_sha256(r.bare_model.state_dict()) for r in (plain, whole, resumed)}
    assert len(digests) == 1
    losses = scalars(plain.work_dir, 'loss', 'lr')
    assert scalars(whole.work_dir, 'loss', 'lr') == losses
    assert scalars(resumed.work_dir, 'loss', 'lr') == losses
    found = scalars(whole.work_dir, 'features/rankme', 'features/knn')
    assert [step for step, *_ in found] == [5, 15]
    assert scalars(resumed.work_dir, 'features/rankme', 'features/knn') == found
    assert pictures(resumed.work_dir) == pictures(whole.work_dir)
    assert sorted(pictures(whole.work_dir)) == ['10.png', '15.png', '5.png']
    page = Path(resumed.work_dir, 'report.html').read_text()
    assert 'finished after 15 steps' in page
    assert 'epoch 1<' in page  # from before the resume


def test_pictures_go_to_the_visualizer_with_what_flatters_said(trained):
    work_dir = Path(trained('run', REPORT, life=1).work_dir)
    sheets = {path.name for path in work_dir.glob('*/vis_data/vis_image/*.png')}
    assert 'reconstructions_15.png' in sheets
    facts = read_facts(next(work_dir.glob('*/vis_data')))
    assert facts.columns[2:] == ('filled in, by itself', 'with true means')
    assert facts.sample == '80 training images'


def test_tensorboard_gets_pictures_and_figures(make_runner):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    changes = {'visualizer.vis_backends': backends, 'train_cfg.max_epochs': 1}
    runner = make_runner('run', {**PIXELS, **REPORT, **changes})
    runner.train()
    runner.visualizer.close()
    found = EventAccumulator(str(Path(runner.log_dir, 'vis_data'))).Reload()
    assert [image.step for image in found.Images('reconstructions')] == [5]
    assert [each.step for each in found.Scalars('features/rankme')] == [5]


def test_wandb_gets_pictures_offline(make_runner, monkeypatch):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    project = dict(project='mae', mode='offline')
    backends = [
        dict(type='LocalVisBackend'),
        dict(type='WandbVisBackend', init_kwargs=project),
    ]
    changes = {'visualizer.vis_backends': backends, 'train_cfg.max_epochs': 1}
    runner = make_runner('run', {**PIXELS, **REPORT, **changes})
    runner.train()
    runner.visualizer.close()
    assert list(Path(runner.log_dir).rglob('media/images/reconstructions_*.png'))


def test_a_resumed_run_shows_earlier_pictures_before_its_own(trained):
    trained('cut', REPORT, stop=7, life=1)
    resumed = trained('cut', {**REPORT, 'resume': True}, stop=8, life=2)
    assert list(pictures(resumed.work_dir)) == ['5.png']
    assert 'epoch 1<' in Path(resumed.work_dir, 'report.html').read_text()


@pytest.mark.parametrize(('steps', 'number'), [(300, 4), (7, 5)])
def test_a_short_run_has_fewer_pictures(trained, monkeypatch, steps, number):
    monkeypatch.setattr('mae.engine.hooks.run_report._STEPS_A_PICTURE', steps)
    found = pictures(trained('run', {**REPORT, 'train_cfg.max_epochs': 7}).work_dir)
    assert len(found) == number
    assert {'5.png', '35.png'} <= set(found)  # after the first epoch and the last


def test_a_classifier_has_curves_alone(make_runner):
    changes = {**REPORT, 'train_cfg.max_epochs': 1}
    runner = make_runner('run', changes, classify=True)
    runner.train()
    page = Path(runner.work_dir, 'report.html').read_text()
    assert 'top-1' in page
    assert 'What it fills in' not in page
    assert not scalars(runner.work_dir, 'features/rankme')


def test_a_run_that_fails_leaves_the_page_so_far(trained):
    work_dir = trained('run', REPORT, stop=7).work_dir
    page = Path(work_dir, 'report.html').read_text()
    assert re.search(r'step 7 of 15', page)


def test_an_error_is_said_once_and_the_run_goes_on(make_runner, tmp_path, capsys):
    (tmp_path / 'run' / 'report.html').mkdir(parents=True)
    runner = make_runner('run', {**REPORT, 'train_cfg.max_epochs': 2})
    runner.train()
    assert runner.iter == 10
    assert capsys.readouterr().out.count('report.html is not up to date') == 1


def test_none_does_without_it(make_runner):
    names = ('run_report', 'progress', 'bad_samples')
    runner = make_runner('run', {f'default_hooks.{name}': None for name in names})
    kinds = {type(hook).__name__ for hook in runner.hooks}
    assert not kinds & {'RunReportHook', 'ProgressHook', 'BadSamplesHook'}


def test_without_scalars_there_is_no_page_and_that_is_said(make_runner, capsys):
    changes = {**REPORT, 'visualizer.vis_backends': [], 'train_cfg.max_epochs': 1}
    runner = make_runner('run', changes)
    runner.train()
    assert 'no report.html: it needs the scalars of a LocalVisBackend' in capsys.readouterr().out
    assert not Path(runner.work_dir, 'report.html').exists()


def test_weights_that_are_broken_are_no_error(trained, monkeypatch):
    def broken(self, images, pool):
        return torch.full((len(images), 4), float('nan'))

    monkeypatch.setattr('mae.models.algorithms.base.Algorithm.extract_features', broken)
    runner = trained('run', {**REPORT, 'train_cfg.max_epochs': 1})
    assert not scalars(runner.work_dir, 'features/rankme')
    assert Path(runner.work_dir, 'report.html').is_file()


@pytest.mark.parametrize('options', [{'seconds': -1}, {'num_images': -1}, {'num_looks': 1}])
def test_options_that_cannot_be(options):
    with pytest.raises(ConfigError, match=r'default_hooks\.run_report needs'):
        RunReportHook(**options)
