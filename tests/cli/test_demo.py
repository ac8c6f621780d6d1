"""`make demo` in small, and what happens when a part of it goes wrong."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mae.fault_tolerance.checkpoint import save_checkpoint
from mae.protocol import jobs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tools(monkeypatch):
    """The demo's own modules, which lie beside each other in tools/."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import demo
    import demo_summary

    return SimpleNamespace(demo=demo, jobs=jobs, summary=demo_summary)


@pytest.fixture
def script(tmp_path):
    """script(text) writes a tool whose main(argv) runs `text`."""

    def write(text):
        path = tmp_path / f'tool{len(list(tmp_path.glob("tool*")))}.py'
        body = '\n'.join(f'    {line}' for line in text.splitlines())
        path.write_text(f'import os, sys, time\n\ndef main(argv):\n{body}\n')
        return path

    return write


def log_line(job, **record):
    path = job.work_dir / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as file:
        file.write(json.dumps(record) + '\n')


def no_more(job):
    return []


# --- the whole ------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    # --cores 2 would start OpenMP threads, which crawl where tests run side by side.
    command = [sys.executable, ROOT / 'tools' / 'demo.py', '--smoke', '--cores', '1']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    work_dir = folder / 'work_dirs' / 'demo-smoke'
    summary = json.loads((work_dir / 'summary.json').read_text())
    return SimpleNamespace(folder=folder, work_dir=work_dir, summary=summary, output=result.stdout)


@pytest.mark.xdist_group('demo')
def test_smoke_fills_the_summary(smoke):
    summary = smoke.summary
    pretrain = summary['pretrain']
    assert pretrain['loss_first'] > pretrain['loss_last'] > 0
    assert pretrain['images_per_second'] > 0
    assert 0 < summary['knn']['top1'] <= 100
    for part in ('finetune', 'scratch'):
        top1 = summary[part]['top1']
        assert len(top1) == 3
        assert all(0 <= value <= 100 for value in top1)
        assert summary[part]['mean'] == pytest.approx(sum(top1) / 3)
        assert summary[part]['std'] == pytest.approx(torch.tensor(top1).std().item(), abs=1e-4)
    scratch = summary['scratch']
    grid = {trial['base_lr']: trial for trial in scratch['grid']}
    assert [len(trial['top1']) for trial in grid.values()] == [3] * len(grid)
    assert scratch['mean'] == max(trial['mean'] for trial in grid.values())
    assert scratch['top1'] == grid[scratch['base_lr']]['top1']
    assert scratch['is_best_at_edge'] == (scratch['base_lr'] in (min(grid), max(grid)))
    assert summary['margin']['scratch'] == summary['finetune']['mean'] - scratch['mean']
    seconds = summary['seconds']
    assert seconds['total'] > seconds['import'] + seconds['pretrain'] > 0
    assert summary['setup']['train_images'] == 1437
    assert summary['setup']['val_images'] == 360
    assert summary['setup']['labels'] == 100


@pytest.mark.xdist_group('demo')
def test_smoke_numbers_are_those_of_the_logs(smoke):
    (log,) = (smoke.work_dir / 'pretrain').glob('*/vis_data/scalars.json')
    losses = [json.loads(line)['loss'] for line in log.read_text().splitlines()]
    assert smoke.summary['pretrain']['loss_first'] == losses[0]
    assert smoke.summary['pretrain']['loss_last'] == losses[-1]
    (log,) = (smoke.work_dir / 'finetune-seed1').glob('*/vis_data/scalars.json')
    assert (
        smoke.summary['finetune']['top1'][1] == json.loads(log.read_text().splitlines()[-1])['top1']
    )
    knn = json.loads((smoke.work_dir / 'knn' / 'metrics.json').read_text())
    assert smoke.summary['knn']['top1'] == knn['top1']


@pytest.mark.xdist_group('demo')
def test_smoke_writes_a_report_and_says_where(smoke):
    html = (smoke.work_dir / 'report.html').read_text()
    assert html.count('src="data:image/png;base64,') == 27
    for part in ('finetune', 'scratch'):
        found = smoke.summary[part]
        spread = f'{found["mean"]:.1f} ± {found["std"]:.1f}'
        assert spread in html
        assert spread in smoke.output
    assert 'report: work_dirs/demo-smoke/report.html' in smoke.output
    assert f'pre-training adds {smoke.summary["margin"]["scratch"]:.1f} at 2 epochs' in smoke.output


@pytest.mark.xdist_group('demo')
def test_seeds_choose_other_labels_and_are_told_to_the_tools(smoke, tools):
    commands = [shlex.split(line) for line in smoke.summary['commands']]
    rates = tools.demo.BASE_LRS['scratch']
    assert len(commands) == 1 + 1 + 3 + 3 * len(rates)
    finetune = [words for words in commands if '--load-from' in words]
    assert [words[words.index('--seed') + 1] for words in finetune] == ['0', '1', '2']
    for seed, words in enumerate(finetune):
        assert f'train_dataloader.dataset.source.seed={seed}' in words
        assert words[words.index('--load-from') + 1] == 'work_dirs/demo-smoke/pretrain/epoch_2.pth'
    for rate in rates:
        trials = [words for words in commands if f'base_lr={rate:g}' in words]
        assert [words[words.index('--seed') + 1] for words in trials] == ['0', '1', '2']


@pytest.mark.xdist_group('demo')
def test_a_listed_command_repeats_its_part(smoke, tool, tmp_path, monkeypatch):
    (line,) = [c for c in smoke.summary['commands'] if 'tools/test.py' in c]
    words = shlex.split(line)
    assert words[:2] == ['OMP_NUM_THREADS=1', 'python']
    monkeypatch.chdir(smoke.folder)
    out = tmp_path / 'again.json'
    arguments = words[3 : words.index('--work-dir')]
    result = tool('test', *arguments, '--work-dir', tmp_path / 'again', '--out', out)
    assert result.code == 0, result.stderr
    assert json.loads(out.read_text())['top1'] == smoke.summary['knn']['top1']


# --- the command line -----------------------------------------------------------------------


def test_help_needs_no_imports():
    start = time.monotonic()
    command = [sys.executable, ROOT / 'tools' / 'demo.py', '--help']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    text = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert time.monotonic() - start < 4
    assert '--smoke' in text


def test_no_cores_is_a_slip(tools, capsys):
    with pytest.raises(SystemExit) as end:
        tools.demo.parse_args(['--cores', '0'])
    assert end.value.code == 2
    assert '--cores must be at least 1' in capsys.readouterr().err


def test_configs_exist_and_rivals_train_alike(tools):
    configs = tools.demo.load_configs()
    plan = tools.demo.make_plan(tools.demo.parse_args([]), configs)
    assert set(plan.epochs) == {'pretrain', 'finetune', 'scratch'}
    assert plan.epochs['finetune'] == plan.epochs['scratch']
    for key in ('train_dataloader', 'val_dataloader', 'param_scheduler', 'global_batch_size'):
        assert configs['finetune'][key] == configs['scratch'][key]
    assert configs['finetune'].model == configs['scratch'].model
    assert configs['finetune'].model.encoder.arch == configs['pretrain'].model.encoder.arch
    assert plan.options == {}
    assert plan.work_dir == Path('work_dirs/demo')


@pytest.mark.parametrize('longer', [False, True])
def test_cost_is_that_of_all_jobs(tools, tmp_path, longer):
    epochs = {'pretrain': 3, 'finetune': 2, 'scratch': 2} | ({'longer': 6} if longer else {})
    plan = tools.demo.Plan(tmp_path, 2, epochs)
    weights = tmp_path / 'x.pth'
    jobs = [
        plan.pretrain(),
        plan.knn(weights),
        *(plan.finetune(weights, seed) for seed in tools.demo.SEEDS),
        *plan.grid('scratch').jobs,
        *(plan.grid('longer').jobs if longer else []),
    ]
    assert sum(job.cost for job in jobs) == pytest.approx(plan.cost)


def test_longer_training_is_the_same_for_more_epochs(tools):
    configs = tools.demo.load_configs()
    plan = tools.demo.make_plan(tools.demo.parse_args(['--longer']), configs)
    short, longer = plan.grid('scratch'), plan.grid('longer')
    assert len(short.jobs) == len(longer.jobs) == 3 * len(tools.demo.BASE_LRS['scratch'])
    common = short.trials.keys() & longer.trials.keys()
    assert len(common) == 2
    pairs = [
        pair for lr in common for pair in zip(short.trials[lr], longer.trials[lr], strict=True)
    ]
    for one, other in pairs:
        assert other.epochs == tools.demo.LONGER * one.epochs
        words = [word.replace('longer-', 'scratch-') for word in other.args]
        assert words == [*one.args, f'train_cfg.max_epochs={other.epochs}']
    smoke = tools.demo.make_plan(tools.demo.parse_args(['--longer', '--smoke']), configs)
    assert smoke.grid('longer').jobs[0].epochs == tools.demo.LONGER * 2
    expected = ['train_cfg.max_epochs=6', 'param_scheduler.warmup_epochs=1']
    assert smoke.grid('longer').jobs[0].args[-2:] == expected


# --- jobs -----------------------------------------------------------------------------------


@pytest.fixture
def job(tools, script, tmp_path):
    def build(text='pass', name='job', **options):
        return tools.jobs.Job(name, script(text), [], tmp_path / name, **options)

    return build


def test_libraries_are_hidden_and_found_again(tools):
    code = """
import sys
from mae.protocol.jobs import without
import json
with without('json', 'pandas', 'transformers'):
    import json  # was there before
    for name in ('pandas', 'transformers.utils'):
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        sys.exit(f'{name} was found')
assert not {'pandas', 'transformers'} & sys.modules.keys()
import pandas
"""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-c', code], env=environment, check=True)


def test_output_goes_to_the_log(tools, job):
    noisy = job(
        "print('to stdout')\nos.system('echo from a child')\nprint('to stderr', file=sys.stderr)"
    )
    tools.jobs.run_jobs([noisy], 1, tools.jobs.Meter(1.0), no_more)
    assert set(noisy.log.read_text().splitlines()) == {'to stdout', 'from a child', 'to stderr'}
    assert noisy.seconds > 0
    assert noisy.fraction() == 1


def test_failure_names_the_command_and_shows_the_log(tools, job):
    bad = job("print('line before')\nraise ValueError('the config is wrong')", name='bad')
    never = job("open('ran', 'w')", name='never')
    with pytest.raises(tools.jobs.JobError) as caught:
        tools.jobs.run_jobs([bad, never], 1, tools.jobs.Meter(2.0), no_more)
    first, second, *tail = str(caught.value).splitlines()
    assert first.startswith('failed: OMP_NUM_THREADS=1 python ')
    assert first.endswith(str(bad.script.name))
    assert second == f'the end of {bad.log}:'
    assert sorted(tail) == ['error: the config is wrong', 'line before']
    assert never.seconds is None


def test_failure_stops_the_others(tools, job, tmp_path):
    mark = tmp_path / 'pid'
    slow = job(f"open('{mark}', 'w').write(str(os.getpid()))\ntime.sleep(60)", name='slow')
    waits = f"while not os.path.exists('{mark}'):\n    time.sleep(.05)\ntime.sleep(.1)\nsys.exit(3)"
    start = time.monotonic()
    with pytest.raises(tools.jobs.JobError):
        tools.jobs.run_jobs([slow, job(waits, name='bad')], 2, tools.jobs.Meter(2.0), no_more)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_cores_are_shared_and_a_large_job_runs_alone(tools, job, tmp_path):
    note = ("open('{0}', 'a').write('+')\ntime.sleep(.3)\nopen('{0}', 'a').write('-')").format(
        tmp_path / 'trace'
    )
    large = job(note, name='large', threads=2)
    small = [job(note, name=f'small{i}') for i in range(2)]
    tools.jobs.run_jobs([large, *small], 2, tools.jobs.Meter(3.0), no_more)
    assert (tmp_path / 'trace').read_text() == '+-++--'


def test_a_job_that_shares_does_not_wait_for_a_core(tools, job, tmp_path):
    mark = tmp_path / 'mark'
    waits = f"while not os.path.exists('{mark}'):\n    time.sleep(.05)"
    first = job(waits, name='first')
    last = job(f"open('{mark}', 'w')", name='last', shares=True)
    tools.jobs.run_jobs([first, last], 1, tools.jobs.Meter(2.0), no_more)
    assert first.seconds is not None


def test_only_the_last_fine_tuning_shares_cores(tools, tmp_path):
    epochs = {'pretrain': 3, 'finetune': 2, 'scratch': 2}
    for cores, expected in ((1, [False] * 3), (2, [False, False, True])):
        plan = tools.demo.Plan(tmp_path, cores, epochs)
        jobs = [plan.finetune(tmp_path / 'x.pth', seed) for seed in tools.demo.SEEDS]
        assert [job.shares for job in jobs] == expected
        assert not any(job.shares for job in [plan.pretrain(), *plan.grid('scratch').jobs])


def test_jobs_that_follow_are_run(tools, job):
    second = job(name='second')
    first = job(name='first')
    follow = {first: [second]}
    tools.jobs.run_jobs([first], 1, tools.jobs.Meter(2.0), lambda done: follow.get(done, []))
    assert second.seconds is not None


def test_progress_is_read_from_the_log(tools, job):
    training = job(epochs=4)
    assert training.fraction() == 0
    log_line(training, loss=1.0, epoch=1, step=10)
    assert training.epoch() == 1
    assert training.fraction() == 0  # not started: the log is of an earlier run
    training._process = object()
    assert training.fraction() == 0.25
    log_line(training, top1=10.0, step=40)
    log_line(training, loss=0.5, epoch=3, step=30)
    assert training.fraction() == 0.75
    training._started = time.time() + 60
    assert training.fraction() == 0


def test_plain_lines_tell_share_and_time_left(tools, job, monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(tools.jobs.time, 'monotonic', lambda: now[0])
    training, done = job(name='pretrain', epochs=4, cost=6.0), job(name='done', cost=2.0)
    with tools.jobs.Meter(10.0) as meter:
        meter.finished(done)
        training._process = object()
        log_line(training, epoch=2, step=1)
        meter.show([training])
        assert capsys.readouterr().out == ''  # not yet ten seconds
        now[0] += 30
        meter.show([training])
        meter.show([training])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ['50%', '0:30', 'left', 'pretrain', '2/4']


def test_interrupt_ends_the_jobs(tools, job, tmp_path):
    mark = tmp_path / 'pid'
    slow = job(f"open('{mark}', 'w').write(str(os.getpid()))\ntime.sleep(60)")

    class Impatient(tools.jobs.Meter):
        def show(self, running):
            if mark.exists() and mark.read_text():
                raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tools.jobs.run_jobs([slow], 1, Impatient(1.0), no_more)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


# --- the summary ----------------------------------------------------------------------------


@pytest.fixture
def runs(tools, job):
    """Runs with logs as if they had happened."""

    def done(name, *records, seconds=1.0, **options):
        made = job(name=name, seconds=seconds, **options)
        for record in records:
            log_line(made, **record)
        return made

    def classified(name, top1):
        record = {'loss': 1.0, 'base_lr': 0.1, 'epoch': 1, 'step': 2}
        return done(name, record, {'top1': 1.0, 'step': 1}, {'top1': top1, 'step': 2}, epochs=1)

    losses = [
        {'loss': 1.25, 'lr': 0.1, 'time': 0.5, 'epoch': 1, 'step': 22},
        {'loss': 0.25, 'lr': 0.0, 'time': 0.1, 'epoch': 2, 'step': 44},
    ]
    # One seed of the highest rate is the best of all runs, and the others fail.
    top1 = {0.1: (40.0, 41.0, 42.0), 0.2: (60.0, 50.0, 40.0), 0.4: (70.0, 30.0, 10.0)}
    trials = {
        rate: [classified(f'grid{rate}-{seed}', value) for seed, value in enumerate(values)]
        for rate, values in top1.items()
    }
    pretrain = done('pretrain', *losses, seconds=20.0, epochs=2)
    made = tools.summary.Runs(pretrain, tools.summary.Grid(trials))
    made.knn = done('knn')
    made.knn.work_dir.mkdir(parents=True)
    (made.knn.work_dir / 'metrics.json').write_text('{"top1": 97.5, "top5": 100.0}')
    made.finetune = [classified(f'finetune{i}', top1) for i, top1 in enumerate((95.0, 96.0, 97.0))]
    return made


def test_summary_is_what_the_logs_say(tools, runs):
    configs = tools.demo.load_configs()
    summary = tools.summary.summarise(runs, configs, (0, 1, 2), 2)
    batch = configs['pretrain'].global_batch_size
    assert summary['pretrain'] == {
        'loss_first': 1.25,
        'loss_last': 0.25,
        'images_per_second': pytest.approx(44 * batch / (22 * 0.5 + 22 * 0.1)),
        'epochs': 2,
    }
    assert summary['knn'] == {'top1': 97.5}
    assert summary['finetune'] == {'top1': [95.0, 96.0, 97.0], 'mean': 96.0, 'std': 1.0}
    scratch = summary['scratch']
    assert scratch['top1'] == [60.0, 50.0, 40.0]
    assert (scratch['mean'], scratch['std']) == (50.0, 10.0)
    assert scratch['base_lr'] == 0.2
    assert scratch['lr'] == 0.2 * configs['scratch'].global_batch_size / 256
    assert [trial['mean'] for trial in scratch['grid']] == pytest.approx([41, 50, 110 / 3])
    assert not scratch['is_best_at_edge']
    assert summary['margin'] == {'scratch': 46.0}
    assert summary['seconds'] == {'pretrain': 20.0, 'knn': 1.0, 'finetune': 3.0, 'scratch': 9.0}
    assert len(summary['commands']) == 1 + 1 + 3 + 9
    assert summary['setup']['labels'] == 100
    assert json.loads(json.dumps(summary)) == summary
    assert all(re.match(r'\d', version) for version in summary['versions'].values())


def test_the_best_rate_at_the_edge_is_told(tools, runs):
    trials = runs.scratch.trials
    for rates, best, is_edge in (
        ((0.1, 0.2, 0.4), 0.2, False),
        ((0.1, 0.2), 0.2, True),
        ((0.2, 0.4), 0.2, True),
    ):
        grid = tools.summary.Grid({rate: trials[rate] for rate in rates})
        assert (grid.best, grid.is_best_at_edge) == (best, is_edge)


def test_of_equal_rates_the_one_with_less_spread_is_best(tools, runs):
    trials = runs.scratch.trials
    last = [runs.scratch.trials[0.2][1]] * 3  # 50, 50, 50 beside 60, 50, 40
    grid = tools.summary.Grid({0.1: trials[0.1], 0.2: trials[0.2], 0.3: last})
    assert grid.best == 0.3


def test_longer_training_is_in_the_summary(tools, runs):
    trials = {rate: jobs[::-1] for rate, jobs in runs.scratch.trials.items() if rate < 0.2}
    runs.longer = tools.summary.Grid(trials)
    summary = tools.summary.summarise(runs, tools.demo.load_configs(), (0, 1, 2), 2)
    assert summary['longer']['top1'] == [42.0, 41.0, 40.0]
    assert summary['margin'] == {'scratch': 46.0, 'longer': 55.0}
    assert summary['seconds']['longer'] == 3.0


def test_the_newest_good_checkpoint_is_used(tools, tmp_path):
    demo = tools.demo
    for number in (1, 2):
        checkpoint = {'state_dict': {'w': torch.ones(2)}, 'meta': {'step': number}}
        save_checkpoint(checkpoint, tmp_path / f'epoch_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_1.pth')
    assert demo.last_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'
    (tmp_path / 'epoch_2.pth').write_bytes(b'cut')
    assert demo.last_checkpoint(tmp_path) == tmp_path / 'epoch_1.pth'
    (tmp_path / 'epoch_1.pth').unlink()
    with pytest.raises(ValueError, match='holds no checkpoint'):
        demo.last_checkpoint(tmp_path)


def test_run_without_validation_is_an_error(tools, runs):
    broken = copy.copy(runs)
    broken.finetune = [runs.pretrain]
    with pytest.raises(ValueError, match="no 'top1'"):
        tools.summary.summarise(broken, tools.demo.load_configs(), (0,), 2)
