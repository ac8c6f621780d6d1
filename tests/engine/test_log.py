"""What a run prints, read as a user reads it: what is useful, once, and first."""

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
    kinds = ['mae ', 'lr ', 'Epoch(train) [1][5/5]', 'Epoch(val) [1]', 'Epoch(train) [2][5/5]']
    kinds.append('Epoch(val) [2]')
    assert len(lines) == len(kinds)
    for line, kind in zip(lines, kinds, strict=True):
        assert line.partition('INFO - ')[2].startswith(kind)


def test_the_hooks_are_there_for_who_asks(printed):
    runner, _ = printed()
    assert '(VERY_HIGH   ) GuardHook' in runner.get_hooks_info()


def test_a_used_work_dir_is_announced_in_the_second_line(printed):
    runner, first = printed()
    assert not any('holds an earlier run' in line for line in first)
    told = f'{runner.work_dir} holds an earlier run, which came to step 10: '
    _, lines = printed()
    assert told in lines[1]
    assert 'starts anew' in lines[1]
    _, lines = printed(changes={'resume': True, 'train_cfg.max_epochs': 3})
    assert told in lines[1]
    assert 'continues' in lines[1]
    path = f'{runner.work_dir}/epoch_2.pth'
    changes = {'resume': True, 'load_from': path, 'train_cfg.max_epochs': 3}
    _, lines = printed(changes=changes)
    assert 'came to step 15: ' in lines[1]
    assert 'continues ' + path in lines[1]
