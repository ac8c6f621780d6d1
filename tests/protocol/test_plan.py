"""The command lines of a plan, on a CPU and on GPUs."""

import pytest

from mae.protocol.plan import Plan, PlanSettings
from mae.protocol.stages import preset_of
from mae.utils.errors import ConfigError, DataError

BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


@pytest.fixture
def data(tmp_path):
    for split in ('train', 'val'):
        (tmp_path / 'in1k' / split).mkdir(parents=True)
    return str(tmp_path / 'in1k')


@pytest.fixture
def settings(tmp_path, data):
    def build(**changes):
        given = dict(tools=tmp_path, work_dir=tmp_path / 'work', data=data, seeds=range(2))
        return PlanSettings(**{**given, 'cores': 2, 'gpus': 0, 'options': (), **changes})

    return build


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A checkpoint of some ViT-B; which one it is, is not looked up."""
    path = tmp_path / 'mae.pth'
    path.write_bytes(b'weights')
    monkeypatch.setattr(
        'mae.protocol.stages.find_recipe', lambda start, data: ('in1k', 'vit-base-p16')
    )
    return path


def test_gpus_are_launched_one_run_at_a_time(settings, weights, data):
    plan = Plan(preset_of(str(weights), ['knn', 'linear']), settings(gpus=8))
    assert plan.settings.parallel_runs == 1
    assert plan.pretrain is None
    assert set(plan.pretrained) == {('knn', 0), ('linear', 0), ('linear', 1)}
    knn, linear = plan.pretrained['knn', 0], plan.pretrained['linear', 1]
    assert knn.script.name == 'dist_test.sh'
    assert list(knn.args[:4]) == ['vit-base-p16_knn-8xb512_in1k', str(weights), '8', '--work-dir']
    assert f'test_cfg.bank_dataloader.dataset.source.root={data}' in knn.args
    assert linear.script.name == 'dist_train.sh'
    assert linear.args[1:3] == ['8', '--work-dir']
    assert linear.args[linear.args.index('--load-from') + 1] == str(weights)
    assert linear.args[linear.args.index('--seed') + 1] == '1'
    assert linear.devices == 8
    assert linear.test_args[1:3] == ('CHECKPOINT', '8')


def test_cores_share_the_runs(settings, weights):
    plan = Plan(preset_of(str(weights), ['finetune', 'partial', 'scratch']), settings())
    assert plan.settings.parallel_runs == 2
    assert all(task.script.name == 'train.py' for task in plan.pretrained.values())
    assert not any('--load-from' in task.args for task in plan.scratch.values())
    rows = [stage for stage in plan.stages if stage.key == 'finetune-100pct']
    assert [stage.protocol for stage in rows] == ['partial', 'finetune']
    assert plan.task(rows[0], 0) is plan.task(rows[1], 0)


def test_identity_follows_what_decides_the_result(settings, weights):
    def identity(**changes):
        return (
            Plan(preset_of(str(weights), ['linear']), settings(**changes))
            .pretrained['linear', 0]
            .identity
        )

    first = identity()
    assert identity(cores=1, work_dir=weights.parent / 'other') == first
    assert identity(options=['base_lr=1.0']) != first
    weights.write_bytes(b'other weights')
    assert identity() != first


def test_pretraining_only_where_it_is_needed(settings):
    assert Plan(preset_of(BASE, ['scratch']), settings()).pretrain is None
    plan = Plan(preset_of(BASE, ['knn']), settings())
    assert plan.pretrain.args[0] == BASE
    assert plan.pretrain.epochs == 400
    assert not plan.pretrain.test_args


def test_config_that_pretrains_nothing(settings):
    with pytest.raises(ConfigError, match='describes no pre-training'):
        Plan(preset_of('vit-base-p16_ft-8xb128-amp-coslr-100e_in1k', ['knn']), settings())


def test_data_is_looked_for_before_anything_runs(settings, tmp_path):
    (tmp_path / 'in1k' / 'val').rmdir()
    with pytest.raises(DataError, match=r'in1k/val: no such folder; --data must name'):
        Plan(preset_of(BASE, ['linear']), settings())
