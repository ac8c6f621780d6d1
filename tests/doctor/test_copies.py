"""Copies, within the training data and in both sets."""

import shutil

from mae.doctor.copies import judge_copies, same_digests, same_files
from tests.own_images import noise, save


def names(findings):
    return [finding.name for finding in findings]


def test_copies_by_content_alone(tmp_path):
    for folder in ('train', 'val'):
        for number in range(3):
            seed = number + 10 * (folder == 'val')
            save(tmp_path / folder / f'{number}.bmp', noise(8, 8, seed=seed))  # of one size
    shutil.copy(tmp_path / 'train/0.bmp', tmp_path / 'train/9.bmp')
    shutil.copy(tmp_path / 'train/1.bmp', tmp_path / 'val/9.bmp')
    train, val = ([str(p) for p in sorted((tmp_path / f).iterdir())] for f in ('train', 'val'))
    groups = same_files([*train, *val])
    assert sorted(map(len, groups)) == [2, 2]
    assert names(judge_copies(groups, set(train), 4)) == [
        *('duplicate_files', 'validation_seen_in_training')
    ]
    assert names(judge_copies(groups, set(train), 1000)) == [
        *('few_duplicate_files', 'validation_seen_in_training')
    ]
    assert judge_copies([], set(train), 4) == []


def test_copies_among_validation_images_alone_do_not_count():
    groups = [['train/a', 'val/a'], ['val/b', 'val/c'], ['val/d', 'val/e']]
    (found,) = judge_copies(groups, {'train/a'}, 1)
    assert found.name == 'validation_seen_in_training'
    assert found.what == '1 are in the training data too, such as val/a: train/a'
    assert judge_copies(groups[1:], {'train/a'}, 1) == []


def test_groups_have_several_names():
    assert same_digests([('a', '1'), ('b', '2'), ('c', '1')]) == [['a', 'c']]
