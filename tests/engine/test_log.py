"""What a run prints, read as a user reads it: what is useful, once, and first."""

from pathlib import Path

import pytest


@pytest.fixture
def printed(make_runner, capfd):
    """printed(folder, changes): the lines on the terminal of a whole run."""

    def run(folder='run', changes=None, **options):
        capfd.readouterr()
        runner = make_runner(
            folder,
            {'train_cfg.max_epochs': 2, 'default_hooks.logger.interval': 100, **(changes or {})},
            **options,
        )
        runner.train()
        out, err = capfd.readouterr()
        assert not err
        return runner, out.splitlines()

    return run


@pytest.mark.filterwarnings('error')
def test_a_short_run_prints_what_is_useful_and_nothing_else(printed):
    changes = {'train_dataloader.pin_memory': True}
    _, lines = printed(changes=changes, classify=True)
    kinds = ['run: Classifier, ', 'data: 160 samples of ', 'model: ViTEncoder, ', 'work dir: /']
    kinds += ['length: 10 steps, 2 epochs', 'lr ', 'Epoch(train) [1][5/5]', 'Epoch(val) [1]']
    kinds += ['Epoch(train) [2][5/5]', 'Epoch(val) [2]']
    assert len(lines) == len(kinds)
    for line, kind in zip(lines, kinds, strict=True):
        assert line.partition('INFO - ')[2].startswith(kind)


def test_versions_and_hooks_are_in_the_log_file_alone(printed):
    runner, lines = printed()
    (file,) = Path(runner.work_dir).rglob('*.log')
    for part in ('(VERY_HIGH   ) GuardHook', f'; seed {runner.seed}; 1 x '):
        assert part in file.read_text()
        assert not any(part in line for line in lines)
    assert 'length: 10 steps' in file.read_text()


def test_a_used_work_dir_is_announced_after_what_runs(printed):
    runner, first = printed()
    assert not any('holds an earlier run' in line for line in first)
    told = f'{runner.work_dir} holds an earlier run, which came to step 10: '
    _, lines = printed()
    assert told in lines[5]
    assert 'starts anew' in lines[5]
    _, lines = printed(changes={'resume': True, 'train_cfg.max_epochs': 3})
    assert told in lines[5]
    assert 'continues' in lines[5]
    path = f'{runner.work_dir}/epoch_2.pth'
    changes = {'resume': True, 'load_from': path, 'train_cfg.max_epochs': 3}
    _, lines = printed(changes=changes)
    assert 'came to step 15: ' in lines[5]
    assert 'continues ' + path in lines[5]
