"""Workers and cores, shared memory."""

import pytest

from mae.doctor.environment import Host, judge_shared_memory, judge_work_dir, judge_workers


@pytest.mark.parametrize(
    ('workers', 'val_workers', 'found'),
    [
        (4, 4, []),
        ('auto', 'auto', []),
        (5, 5, ['train_dataloader.num_workers']),
        (4, 9, ['val_dataloader.num_workers']),
        (8, 9, ['train_dataloader.num_workers', 'val_dataloader.num_workers']),
    ],
)
def test_more_workers_than_cores(workers, val_workers, found):
    config = {
        'train_dataloader': {'num_workers': workers},
        'val_dataloader': {'num_workers': val_workers},
        'test_dataloader': {'num_workers': val_workers},
    }
    assert [finding.where for finding in judge_workers(config, 4)] == found


def test_shared_memory(host):
    config = {'train_dataloader': dict(num_workers=4, batch_size=100, prefetch_factor=3)}
    assert judge_shared_memory(config, host(shared=1200), 1) == []
    assert judge_shared_memory(config, host(shared=None), 1) == []
    (found,) = judge_shared_memory(config, host(shared=1199), 1)
    assert found.name == 'little_shared_memory'
    config['train_dataloader']['num_workers'] = 0
    assert judge_shared_memory(config, host(shared=0), 1) == []


def test_a_work_dir_need_not_be_there(tmp_path):
    found = Host.of(tmp_path / 'not' / 'yet')
    assert found.disk > 0
    assert not (tmp_path / 'not').exists()


def test_a_work_dir_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    assert judge_work_dir(tmp_path / 'new' / 'run') == []
    (found,) = judge_work_dir(tmp_path / 'file' / 'run')
    assert found.what == f'{tmp_path / "file"} is a file'
    monkeypatch.setattr('os.access', lambda *_: False)  # root may write anywhere
    (found,) = judge_work_dir(tmp_path / 'new' / 'run')
    assert found.what == f'{tmp_path} may not be written'
