"""`make demo` in small, and what happens when a part of it goes wrong."""

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
from mae.protocol import demo as parts
from mae.protocol import jobs
from mae.protocol.presets import DEMO, LONGER
from mae.protocol.stages import config_of
from mae.protocol.table import table_of
from mae.utils.errors import CheckpointError
from mae.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tools(monkeypatch):
    """The tool, and what runs its jobs."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import demo

    return SimpleNamespace(demo=demo, jobs=jobs)


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


@pytest.fixture(scope='session')
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


def test_smoke_numbers_are_those_of_the_logs(smoke):
    (log,) = (smoke.work_dir / 'pretrain').glob('*/vis_data/scalars.json')
    records = map(json.loads, log.read_text().splitlines())
    losses = [record['loss'] for record in records if 'loss' in record]
    assert smoke.summary['pretrain']['loss_first'] == losses[0]
    assert smoke.summary['pretrain']['loss_last'] == losses[-1]
    (log,) = (smoke.work_dir / 'finetune-seed1').glob('*/vis_data/scalars.json')
    assert (
        smoke.summary['finetune']['top1'][1] == json.loads(log.read_text().splitlines()[-1])['top1']
    )
    knn = json.loads((smoke.work_dir / 'knn' / 'metrics.json').read_text())
    assert smoke.summary['knn']['top1'] == knn['top1']


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


def test_seeds_choose_other_labels_and_are_told_to_the_tools(smoke, tools):
    commands = [shlex.split(line) for line in smoke.summary['commands']]
    rates = next(stage for stage in DEMO.stages if stage.key == 'scratch').base_lrs
    assert len(commands) == 1 + 1 + 3 + 3 * len(rates)
    finetune = [words for words in commands if '--load-from' in words]
    assert [words[words.index('--seed') + 1] for words in finetune] == ['0', '1', '2']
    for seed, words in enumerate(finetune):
        assert f'train_dataloader.dataset.source.seed={seed}' in words
        assert words[words.index('--load-from') + 1] == 'work_dirs/demo-smoke/pretrain/epoch_2.pth'
    for rate in rates:
        trials = [words for words in commands if f'base_lr={rate:g}' in words]
        assert [words[words.index('--seed') + 1] for words in trials] == ['0', '1', '2']


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


@pytest.fixture
def plan(tools, tmp_path, monkeypatch):
    """plan(*arguments) is what a command line asks for; the weights are there."""
    monkeypatch.chdir(tmp_path)  # a demo of the user's own may lie below the current folder

    def build(*arguments):
        made = tools.demo.make_plan(tools.demo.parse_args(arguments))
        weights = tmp_path / 'weights.pth'
        weights.write_bytes(b'weights')
        monkeypatch.setattr(made, 'weights', lambda: weights)
        return made

    return build


def configs_of(plan):
    return {stage.key: config_of(stage) for stage in (plan.preset.pretrain, *plan.stages)}


def trials_of(plan, key):
    """Tasks of a row by base_lr."""
    return {trial.base_lr: plan.tasks_of(trial) for trial in plan.stage(key).trials}


def tasks_of(plan):
    return [plan.pretrain, *plan.pretrained.values(), *plan.scratch.values()]


def test_configs_exist_and_rivals_train_alike(plan):
    made = plan()
    configs = configs_of(made)
    assert set(configs) == {'pretrain', 'knn', 'finetune', 'scratch'}
    (finetune, *_), (scratch, *_) = trials_of(made, 'finetune')[None], made.scratch.values()
    assert finetune.epochs == scratch.epochs
    for key in ('train_dataloader', 'val_dataloader', 'param_scheduler', 'global_batch_size'):
        assert configs['finetune'][key] == configs['scratch'][key]
    assert configs['finetune'].model == configs['scratch'].model
    assert configs['finetune'].model.encoder.arch == configs['pretrain'].model.encoder.arch
    assert not made.settings.options
    assert made.settings.work_dir == Path('work_dirs/demo')


@pytest.mark.parametrize('longer', [False, True])
def test_cost_is_that_of_all_jobs(plan, monkeypatch, longer):
    made = plan('--cores', '2', *(['--longer'] if longer else []))
    seen = []
    monkeypatch.setattr('mae.protocol.plan.run_jobs', lambda *given: seen.append(given))
    made.execute()
    ((first, cores, meter, then),) = seen
    jobs = [*first, *then(made.pretrain)]
    assert {*jobs} == {*tasks_of(made)}
    assert first[0] is made.pretrain
    assert cores == 2
    assert sum(job.cost for job in jobs) == pytest.approx(meter.cost)


def test_longer_training_is_the_same_for_more_epochs(plan):
    made = plan('--longer')
    short, longer = trials_of(made, 'scratch'), trials_of(made, 'longer')
    assert len(short) == len(longer) == 3
    common = short.keys() & longer.keys()
    assert len(common) == 2
    pairs = [pair for lr in common for pair in zip(short[lr], longer[lr], strict=True)]
    assert len(pairs) == 6
    for one, other in pairs:
        assert other.epochs == LONGER * one.epochs
        words = [word.replace('longer-', 'scratch-') for word in other.args]
        assert words == [*one.args, f'train_cfg.max_epochs={other.epochs}']
    smoke = trials_of(plan('--longer', '--smoke'), 'longer')[5e-3][0]
    assert smoke.epochs == LONGER * 2
    assert smoke.args[-2:] == ['train_cfg.max_epochs=6', 'param_scheduler.warmup_epochs=1']


def test_the_demo_begins_anew(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for task in tasks_of(plan()):
        task.work_dir.mkdir(parents=True, exist_ok=True)
        write_json(task.work_dir / 'task.json', {'identity': 'of other configs', 'command': ''})
        write_json(task.work_dir / 'result.json', {'metrics': {'top1': 0.0}})
    for task in tasks_of(plan()):
        task.check()
        assert task.result is None


# --- jobs -----------------------------------------------------------------------------------


@pytest.fixture
def job(tools, script, tmp_path):
    def build(text='pass', name='job', **options):
        return tools.jobs.Job(name, script(text), [], tmp_path / name, **options)

    return build


def test_libraries_are_hidden_and_found_again(tools):
    code = """
import sys
from mae.protocol.jobs import imports_blocked
import json
with imports_blocked('json', 'pandas', 'transformers'):
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
    tools.jobs.run_jobs([noisy], 1, tools.jobs.JobProgress(1.0), no_more)
    assert set(noisy.log.read_text().splitlines()) == {'to stdout', 'from a child', 'to stderr'}
    assert noisy.seconds > 0
    assert noisy.fraction() == 1


def test_cpu_time_is_that_of_the_process_and_its_children(tools, job):
    burn = 'import time\nwhile time.process_time() < {}: pass'
    sleeper = job('time.sleep(1)', name='sleeper')
    busy = job(
        f'import subprocess\nsubprocess.run([sys.executable, "-c", {burn.format(0.4)!r}])\n'
        'end = time.process_time() + .4\nwhile time.process_time() < end: pass',
        name='busy',
    )
    tools.jobs.run_jobs([sleeper, busy], 2, tools.jobs.JobProgress(2.0), no_more)
    assert sleeper.cpu_seconds < 0.5 * sleeper.seconds
    assert 0.8 <= busy.cpu_seconds < 2.0


def test_failure_names_the_command_and_shows_the_log(tools, job):
    bad = job("print('line before')\nraise ValueError('the config is wrong')", name='bad')
    never = job("open('ran', 'w')", name='never')
    with pytest.raises(tools.jobs.JobError) as caught:
        tools.jobs.run_jobs([bad, never], 1, tools.jobs.JobProgress(2.0), no_more)
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
        tools.jobs.run_jobs([slow, job(waits, name='bad')], 2, tools.jobs.JobProgress(2.0), no_more)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_cores_are_shared_and_a_large_job_runs_alone(tools, job, tmp_path):
    note = ("open('{0}', 'a').write('+')\ntime.sleep(.3)\nopen('{0}', 'a').write('-')").format(
        tmp_path / 'trace'
    )
    large = job(note, name='large', threads=2)
    small = [job(note, name=f'small{i}') for i in range(2)]
    tools.jobs.run_jobs([large, *small], 2, tools.jobs.JobProgress(3.0), no_more)
    assert (tmp_path / 'trace').read_text() == '+-++--'


def test_a_job_that_shares_does_not_wait_for_a_core(tools, job, tmp_path):
    mark = tmp_path / 'mark'
    waits = f"while not os.path.exists('{mark}'):\n    time.sleep(.05)"
    first = job(waits, name='first')
    last = job(f"open('{mark}', 'w')", name='last', shares=True)
    tools.jobs.run_jobs([first, last], 1, tools.jobs.JobProgress(2.0), no_more)
    assert first.seconds is not None


@pytest.mark.parametrize(('cores', 'expected'), [(1, []), (2, ['finetune-seed2'])])
def test_only_the_last_fine_tuning_shares_cores(plan, cores, expected):
    tasks = tasks_of(plan('--cores', str(cores)))
    assert [task.work_dir.name for task in tasks if task.shares] == expected


def test_jobs_that_follow_are_run(tools, job):
    second = job(name='second')
    first = job(name='first')
    follow = {first: [second]}
    tools.jobs.run_jobs([first], 1, tools.jobs.JobProgress(2.0), lambda done: follow.get(done, []))
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
    with tools.jobs.JobProgress(10.0) as meter:
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

    class Impatient(tools.jobs.JobProgress):
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

# One seed of the highest rate is the best of all runs, and the others fail.
TOP1 = {5e-3: (40.0, 41.0, 42.0), 1e-2: (60.0, 50.0, 40.0), 2e-2: (70.0, 30.0, 10.0)}
LOSSES = [
    {'loss': 1.25, 'lr': 0.1, 'time': 0.5, 'epoch': 1, 'step': 22},
    {'loss': 0.25, 'lr': 0.0, 'time': 0.1, 'epoch': 2, 'step': 44},
]


@pytest.fixture
def ran(plan, tmp_path):
    """ran(top1, *arguments) is a plan whose jobs have left logs and results."""

    def done(task, seconds=1.0, **metrics):
        task.seconds = seconds
        task.work_dir.mkdir(parents=True)
        result = {'metrics': metrics, 'seconds': seconds, 'device_seconds': seconds}
        write_json(task.work_dir / 'result.json', {**result, 'command': task.command})

    def build(grids, *arguments):
        made = plan('--cores', '2', '--work-dir', str(tmp_path / 'work'), *arguments)
        done(made.pretrain, 20.0, loss=0.25)
        for record in LOSSES:
            log_line(made.pretrain, **record)
        done(trials_of(made, 'knn')[None][0], top1=97.5)
        for seed, task in enumerate(trials_of(made, 'finetune')[None]):
            done(task, top1=95.0 + seed)
        for part, top1 in grids.items():
            for rate, tasks in trials_of(made, part).items():
                for task, value in zip(tasks, top1[rate], strict=True):
                    done(task, top1=value)
        return made

    return build


def test_summary_is_what_the_runs_left(ran):
    made = ran({'scratch': TOP1})
    summary, configs = parts.summary_of(made), configs_of(made)
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
    assert scratch['base_lr'] == 1e-2
    assert scratch['lr'] == 1e-2 * configs['scratch'].global_batch_size / 256
    assert [trial['mean'] for trial in scratch['grid']] == pytest.approx([41, 50, 110 / 3])
    assert not scratch['is_best_at_edge']
    assert summary['margin'] == {'scratch': 46.0}
    assert summary['seconds'] == {'pretrain': 20.0, 'knn': 1.0, 'finetune': 3.0, 'scratch': 9.0}
    assert len(summary['commands']) == 1 + 1 + 3 + 9
    assert summary['setup']['labels'] == 100
    assert json.loads(json.dumps(summary)) == summary
    assert all(re.match(r'\d', version) for version in summary['versions'].values())


def test_curves_of_the_report_are_those_of_the_best_rate(ran):
    made = ran({'scratch': TOP1})
    log_line(trials_of(made, 'finetune')[None][0], loss=3.0)
    log_line(trials_of(made, 'scratch')[1e-2][0], loss=2.0)
    logs = parts.logs_of(made, parts.summary_of(made))
    assert logs == {'pretrain': LOSSES, 'finetune': [{'loss': 3.0}], 'scratch': [{'loss': 2.0}]}


def test_longer_training_is_in_the_summary(ran):
    longer = {2.5e-3: (1.0,) * 3, 5e-3: (42.0, 41.0, 40.0), 1e-2: (0.0, 10.0, 20.0)}
    summary = parts.summary_of(ran({'scratch': TOP1, 'longer': longer}, '--longer'))
    assert summary['longer']['top1'] == [42.0, 41.0, 40.0]
    assert summary['longer']['epochs'] == LONGER * summary['scratch']['epochs']
    assert summary['margin'] == {'scratch': 46.0, 'longer': 55.0}
    assert summary['seconds']['longer'] == 9.0


@pytest.mark.parametrize(
    ('top1', 'best', 'is_edge'),
    [
        (TOP1, 1e-2, False),
        ({**TOP1, 1e-2: (0.0, 0.0, 0.0)}, 5e-3, True),
        ({**TOP1, 2e-2: (70.0, 80.0, 90.0)}, 2e-2, True),
        # Of equal means the one with less deviation.
        ({**TOP1, 2e-2: (50.0, 50.0, 50.0)}, 2e-2, True),
        ({**TOP1, 1e-2: (60.0, 20.0, 43.0)}, 5e-3, True),
    ],
)
def test_the_best_rate_and_whether_it_is_at_the_edge(ran, top1, best, is_edge):
    (row,) = [r for r in table_of(ran({'scratch': top1}), '')['rows'] if r['key'] == 'scratch']
    assert (row['base_lr'], row['is_best_at_edge']) == (best, is_edge)


def test_the_newest_good_checkpoint_is_used(tools, tmp_path):
    made = tools.demo.make_plan(tools.demo.parse_args(['--work-dir', str(tmp_path)]))
    folder = tmp_path / 'pretrain'
    folder.mkdir()
    for number in (1, 2):
        checkpoint = {'state_dict': {'w': torch.ones(2)}, 'meta': {'step': number}}
        save_checkpoint(checkpoint, folder / f'epoch_{number}.pth')
    (folder / 'last_checkpoint').write_text('elsewhere/epoch_1.pth')
    assert made.weights() == folder / 'epoch_2.pth'
    (folder / 'epoch_2.pth').write_bytes(b'cut')
    assert made.weights() == folder / 'epoch_1.pth'
    (folder / 'epoch_1.pth').unlink()
    with pytest.raises(CheckpointError, match='its checkpoint is gone'):
        made.weights()


def test_run_without_validation_is_an_error(plan):
    (task, *_) = trials_of(plan(), 'finetune')[None]
    with pytest.raises(ValueError, match="has logged 'top1'"):
        task._metrics()
