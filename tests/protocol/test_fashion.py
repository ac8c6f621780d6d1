"""The protocol of Fashion-MNIST as it is run: all of it planned, a part of it run on toy data."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mae.protocol import PROTOCOLS, plan, recipes
from mae.protocol.jobs import preload
from mae.protocol.plan import Plan, PlanSettings
from mae.protocol.stages import preset_of
from mae.protocol.table import table_of
from mae.utils.errors import DataError

PRETRAIN = 'mae_vit-mini-p4_1xb128-coslr-20e_fashion-28'
TOOLS = Path(__file__).resolve().parents[2] / 'tools'
TOY = (
    *('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler.warmup_epochs=0'),
    *('global_batch_size=2', 'train_dataloader.batch_size=2'),
    *('model.encoder.arch.embed_dim=16', 'model.encoder.arch.depth=2'),
)


@pytest.fixture
def data(tmp_path):
    """Two images a class, 28 pixels wide."""
    root = tmp_path / 'garments'
    root.mkdir()
    for split in ('train', 't10k'):
        pixels = np.random.default_rng(0).integers(256, size=(20, 28, 28), dtype=np.uint8)
        header = struct.pack('>4B3I', 0, 0, 8, 3, *pixels.shape)
        (root / f'{split}-images-idx3-ubyte').write_bytes(header + pixels.tobytes())
        labels = struct.pack('>4BI', 0, 0, 8, 1, 20) + bytes(2 * [*range(10)])
        (root / f'{split}-labels-idx1-ubyte').write_bytes(labels)
    return root


@pytest.fixture
def planned(tmp_path, data):
    """planned(protocols, **changes) is a plan of the preset."""

    def build(protocols=PROTOCOLS[:-1], start=PRETRAIN, recipe=None, **changes):
        given = dict(tools=TOOLS, work_dir=tmp_path / 'work', data=str(data), seeds=range(3))
        settings = PlanSettings(**{**given, 'cores': 1, 'gpus': 0, 'options': (), **changes})
        return Plan(preset_of(start, protocols, recipe), settings)

    return build


def test_whole_protocol(planned):
    whole = planned()
    assert whole.preset.name == 'vit-mini-p4 on Fashion-MNIST'
    assert whole.pretrain.args[0] == PRETRAIN
    grids = {key for key, seed in whole.scratch if seed == 2}
    # Of 1, 10 and 100 % of the labels; then for longer training, on all labels at one rate.
    assert len(grids) == (4 + 4 + 3) + (3 + 3 + 1)
    assert len(whole.scratch) == 3 * len(grids)
    longest = whole.scratch['scratch-3x-lr0.002', 0]
    assert longest.epochs == 6
    assert 'train_cfg.max_epochs=6' in longest.args


def test_toy_runs_to_its_table_and_is_not_repeated(planned, monkeypatch):
    grids = {0.01: {1: (1e-3, 2e-3)}, 1.0: {2: ()}}
    shares = {
        key: {share: getattr(recipes.FASHION, key)[share] for share in (0.01, 1.0)}
        for key in ('finetune', 'scratch')
    }
    small = replace(recipes.FASHION, **shares, scratch_base_lrs=grids)
    monkeypatch.setitem(recipes.RECIPES, 'fashion', small)
    given = dict(seeds=range(1), options=TOY)
    first = planned(('knn', 'finetune', 'scratch'), **given)
    preload()  # as the tool does
    first.execute()
    table = table_of(first, 'the command')
    titles = [row['title'] for row in table['rows']]
    assert titles[-3:] == [
        'from scratch, 1 % of the labels',
        'from scratch',
        'from scratch, 2 times the epochs',
    ]
    assert all(0 <= row['mean'] <= 100 for row in table['rows'])
    tail = {row['key']: row for row in table['rows']}
    assert [trial['base_lr'] for trial in tail['scratch-1pct']['grid']] == [1e-3, 2e-3]
    assert tail['scratch-2x']['epochs'] == 2
    assert sum('from scratch' in claim for claim in table['order']) == 1
    assert json.loads((first.settings.work_dir / 'knn' / 'metrics.json').read_text())['top1'] >= 0
    monkeypatch.setattr(plan, 'run_jobs', lambda jobs, *_: jobs and pytest.fail(f'again: {jobs}'))
    again = planned(('knn', 'finetune', 'scratch'), **given)
    again.execute()
    assert table_of(again, 'the command')['rows'] == table['rows']


def test_digits_are_evaluated_on_garments(planned):
    start = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
    transfer = planned(('knn', 'finetune'), start, 'fashion')
    assert {stage.config.rpartition('_')[2] for stage in transfer.stages} >= {'fashion-28'}
    assert transfer.pretrain.args[0] == start


def test_missing_folder_is_said_before_anything_runs(planned, tmp_path):
    with pytest.raises(DataError, match=r'nowhere: no such folder; --data must name the folder'):
        planned(data=str(tmp_path / 'nowhere'))
    assert not (tmp_path / 'work').exists()
