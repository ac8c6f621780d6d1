"""The dense demo: what it plans, and that its summary and report say what its runs have left."""

import json
from itertools import product
from pathlib import Path
from statistics import fmean

import pytest

from mae.apis import init_model
from mae.fault_tolerance.checkpoint import save_checkpoint
from mae.protocol.dense_demo import dense_summary, dense_views
from mae.protocol.presets import DENSE_METRICS, DENSE_SCENES, DENSE_STARTS, dense_key
from mae.protocol.stages import config_of
from mae.utils.files import write_json
from mae.visualization.dense_demo_report import dense_demo_report, dense_table

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
CELLS = list(product(DENSE_METRICS, DENSE_SCENES))
LOSSES = [
    {'loss': 1.25, 'lr': 0.1, 'time': 0.5, 'epoch': 1, 'step': 22},
    {'loss': 0.25, 'lr': 0.0, 'time': 0.1, 'epoch': 2, 'step': 44},
]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of `tools/demo.py --dense`; its pre-trained weights are there."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import demo

    monkeypatch.chdir(tmp_path)
    made = demo.make_plan(demo.parse_args(['--dense', '--cores', '2']))
    (tmp_path / 'weights.pth').write_bytes(b'weights')
    monkeypatch.setattr(made, 'weights', lambda: tmp_path / 'weights.pth')
    return made


def stage_of(plan, task, scenes, start):
    return plan.stage(dense_key(task, scenes, start))


def trials_of(plan, *cell):
    """Tasks of a row by base_lr."""
    return {trial.base_lr: plan.tasks_of(trial) for trial in stage_of(plan, *cell).trials}


@pytest.fixture
def ran(plan):
    """The plan, of which every job has left a result.

    The box AP of the baseline is best at its lowest rate, the other metrics at the middle one, but
    for the first seed.
    """

    def done(task, seconds=2.0, **metrics):
        task.seconds = seconds
        task.work_dir.mkdir(parents=True)
        result = {'metrics': metrics, 'seconds': seconds, 'device_seconds': seconds}
        write_json(task.work_dir / 'result.json', {**result, 'command': task.command})

    done(plan.pretrain, 20.0, loss=0.25)
    log = plan.pretrain.work_dir / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(f'{json.dumps(record)}\n' for record in LOSSES))
    for (task, scenes), start in product(CELLS, DENSE_STARTS):
        for number, jobs in enumerate(trials_of(plan, task, scenes, start).values()):
            for seed, job in enumerate(jobs):
                base = {'scratch': 20, 'frozen': 30, 'finetune': 40}[start] + scenes / 100 + seed
                box = base - 4 * number if start == 'scratch' else base
                other = base - 6 * abs(number - 1) if start == 'scratch' else base
                done(job, miou=other, box_ap=box, mask_ap=other - 1.0)
    return plan


# --- the plan -------------------------------------------------------------------------------


def test_every_task_is_run_from_every_start_with_every_seed(plan):
    assert plan.settings.work_dir == Path('work_dirs/demo-dense')
    keys = {(key, seed) for key, seed in {**plan.scratch, **plan.pretrained}}
    for (task, scenes), start in product(CELLS, DENSE_STARTS):
        trials = trials_of(plan, task, scenes, start)
        rates = stage_of(plan, task, scenes, start).base_lrs
        assert len(trials) == (len(rates) if start == 'scratch' else 1)
        assert len(rates) >= 3 or start != 'scratch'
        for (rate, jobs), seed in product(trials.items(), range(3)):
            job, args = jobs[seed], list(jobs[seed].args)
            suffix = '' if rate is None else f'-lr{rate:g}'
            keys.remove((f'{dense_key(task, scenes, start)}{suffix}', seed))
            assert f'train_dataloader.dataset.source.seed={seed}' in args
            assert args[args.index('--seed') + 1] == str(seed)
            assert ('--load-from' in args) == (start != 'scratch')
            assert (f'base_lr={rate:g}' in args) == (start == 'scratch') if rate else True
            assert job.metric == DENSE_METRICS[task][0]
    assert not keys
    assert plan.pretrain.args[0] == plan.preset.pretrain.config
    assert not any('seed=' in word for word in plan.pretrain.args)


def test_rivals_train_alike_on_other_scenes_than_pretraining(plan):
    pretrain = config_of(plan.stage('pretrain'))
    unlabelled = pretrain.train_dataloader.dataset.source
    for task, scenes in CELLS:
        configs = {start: config_of(stage_of(plan, task, scenes, start)) for start in DENSE_STARTS}
        tuned = configs['finetune']
        assert configs['frozen'].model == {**tuned.model, 'trainable_blocks': 0}
        assert configs['scratch'].model == tuned.model
        for other in (configs['scratch'], configs['frozen']):
            for key in ('train_dataloader', 'val_dataloader', 'train_cfg', 'param_scheduler'):
                assert other[key] == tuned[key]
        for key in ('arch', 'mlp_ratio', 'img_size', 'patch_size', 'in_channels'):
            assert tuned.model.encoder[key] == pretrain.model.encoder[key]
        for key in ('mean', 'std'):
            assert tuned.model.preprocessor[key] == pretrain.model.preprocessor[key]
        labelled, tested = (
            tuned[loader].dataset.source for loader in ('train_dataloader', 'val_dataloader')
        )
        assert labelled.num_scenes == scenes
        assert (labelled.split, tested.split) == ('train', 'val')
        assert unlabelled.get('split', 'train') == 'train'
        assert unlabelled.seed not in plan.settings.seeds
        for key in ('img_size', 'digits', 'sizes', 'step'):
            assert labelled[key] == unlabelled[key] == tested[key]


def test_longer_is_of_the_other_demo(plan, capsys):
    import demo

    with pytest.raises(SystemExit) as end:
        demo.parse_args(['--dense', '--longer'])
    assert end.value.code == 2
    assert '--longer is of the demo without --dense' in capsys.readouterr().err


# --- the summary ----------------------------------------------------------------------------


def test_each_metric_takes_the_baselines_best_rate_for_it(ran):
    summary = dense_summary(ran)
    assert json.loads(json.dumps(summary)) == summary
    found = {(result['metric'], result['scenes']): result for result in summary['results']}
    assert list(found) == list(product(['miou', 'box_ap', 'mask_ap'], DENSE_SCENES))
    for (metric, scenes), result in found.items():
        task = 'seg' if metric == 'miou' else 'det'
        rates = stage_of(ran, task, scenes, 'scratch').base_lrs
        lost = metric == 'mask_ap'
        assert result['scratch']['base_lr'] == rates[0 if metric == 'box_ap' else 1]
        assert result['scratch']['is_best_at_edge'] == (metric == 'box_ap')
        best = [20 + scenes / 100 + seed - lost for seed in range(3)]
        assert result['scratch'][metric] == best
        assert result['scratch']['mean'] == pytest.approx(fmean(best))
        assert result['finetune']['std'] == 1.0
        assert result['margin'] == pytest.approx(20)
        assert result['is_beyond_spread']
        assert len(result['scratch']['grid']) == len(rates)
    baselines = [stage_of(ran, task, scenes, 'scratch') for task, scenes in CELLS]
    runs = [3 * len(stage.base_lrs) for stage in baselines]
    assert len(summary['commands']) == 1 + sum(runs) + len(CELLS) * (3 + 3)
    assert summary['seconds']['seg-100-scratch'] == 2.0 * runs[CELLS.index(('seg', 100))]
    assert summary['pretrain']['loss_first'] == 1.25
    assert summary['setup']['labelled_scenes'] == [100, 1000]


def test_ahead_beyond_the_spread_means_every_seed(ran):
    (job, *_) = trials_of(ran, 'seg', 100, 'finetune')[None]
    write_json(
        job.work_dir / 'result.json',
        {'metrics': {'miou': 23.0}, 'seconds': 1.0, 'device_seconds': 1.0, 'command': ''},
    )
    head, rows = dense_table(dense_summary(ran)['results'])
    assert [row[-1] for row in rows] == ['no', *['yes'] * 5]
    first = ('mIoU, 100 scenes', '22.0 ± 1.0', '32.0 ± 1.0', '36.0 ± 11.3', '+14.0', 'no')
    assert rows[0] == first
    assert len(head) == len(rows[0])


# --- the pictures ---------------------------------------------------------------------------


def test_report_shows_what_the_models_find(ran):
    """With untrained weights: what is drawn is theirs, beside the truth."""
    shown = {}
    for task in DENSE_METRICS:
        for start in DENSE_STARTS:
            stage = stage_of(ran, task, 100, start)
            model = init_model(config_of(stage))
            model.init_weights()
            for trial in stage.trials:
                (job, *_) = ran.tasks_of(trial)
                path = job.work_dir / 'epoch_1.pth'
                save_checkpoint({'state_dict': model.state_dict(), 'meta': {'step': 1}}, path)
        shown[task] = dense_views(ran, task)
    pictures = {task: views for task, (views, _) in shown.items()}
    names = {task: names for task, (_, names) in shown.items()}
    assert [len(names[task]) for task in DENSE_METRICS] == [11, 10]
    for views in pictures.values():
        assert list(views) == list(DENSE_STARTS)
        images = [[view.image.tobytes() for view in some] for some in views.values()]
        assert images[0] == images[1] == images[2]  # side by side
        assert all(view.truth is not None for some in views.values() for view in some)
    summary = dense_summary(ran)
    summary['seconds']['total'] = 100.0
    page = dense_demo_report(summary, ran.pretrain.records(), pictures, names)
    assert page.count('data:image/png;base64,') == 2 * 3 * 4 * 3
    for row in dense_table(summary['results'])[1]:
        for cell in row:
            assert cell in page
