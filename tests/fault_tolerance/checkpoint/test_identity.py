import numpy as np
import pytest

from mae.fault_tolerance.checkpoint.identity import NAMES, check_same, fingerprint
from mae.utils.errors import CheckpointError, ConfigError

THEN = {'seed': 0, 'global_batch_size': 32, 'num_samples': 160, 'dataset': 'aa'}


class Source:
    def __init__(self, root='/data', count=10, label=0, names='{}'):
        self.root, self.count, self.label, self.names = root, count, label, names

    def __len__(self):
        return self.count

    def get_data_info(self, index):
        name = self.names.format(index)
        return {'img_path': f'{self.root}/train/class/{name}.jpg', 'gt_label': self.label}


def test_fingerprint_follows_the_samples_not_the_place():
    plain = fingerprint(Source())
    assert fingerprint(Source()) == plain
    assert fingerprint(Source(root='/scratch/copy')) == plain
    others = [Source(count=11), Source(label=1), Source(names='x{}'), Source(count=9000)]
    assert len({plain, *map(fingerprint, others)}) == 5
    assert fingerprint([1, 2]) is None


def test_fingerprint_of_images_in_memory():
    class Memory(Source):
        def get_data_info(self, index):
            return {'img': np.full((2, 2), self.label), 'gt_label': 0}

    assert fingerprint(Memory(label=1)) != fingerprint(Memory(label=2))


def test_all_that_is_compared_may_be_named(make_runner):
    assert tuple(make_runner().identity) == NAMES


def test_the_same():
    assert check_same(THEN, THEN, 'x.pth') == []
    assert check_same({'seed': 0}, THEN, 'x.pth') == []  # written before there were fingerprints


def test_all_differences_are_shown():
    now = {**THEN, 'seed': 3, 'dataset': 'bb'}
    with pytest.raises(CheckpointError) as caught:
        check_same(THEN, now, 'x.pth')
    message = str(caught.value)
    assert 'seed was 0 and is 3 now; dataset was aa and is bb now' in message
    assert message.endswith('--resume-anyway seed dataset')
    with pytest.raises(CheckpointError, match='dataset was aa'):
        check_same(THEN, now, 'x.pth', ['seed'])
    assert len(check_same(THEN, now, 'x.pth', ['seed', 'dataset'])) == 2


def test_length_of_an_epoch_is_told_where_nothing_else_tells_it():
    then, now = {**THEN, 'steps_per_epoch': 6}, {**THEN, 'steps_per_epoch': 5}
    with pytest.raises(CheckpointError, match='steps_per_epoch was 6 and is 5 now'):
        check_same(then, now, 'x.pth')
    told = check_same(then, {**now, 'num_samples': 150}, 'x.pth', ['num_samples'])
    assert told == ['num_samples was 160 and is 150 now']


def test_another_teacher_is_told_as_such():
    then, now = {**THEN, 'teacher': 'aa'}, {**THEN, 'teacher': 'bb'}
    with pytest.raises(
        CheckpointError, match=r'was aa and is bb now, so the run would learn someth'
    ):
        check_same(then, now, 'x.pth')
    told = ['teacher was aa and is bb now']
    assert check_same(then, now, 'x.pth', ['teacher']) == told
    assert check_same(then, THEN, 'x.pth') == []  # a run without one


def test_unknown_name():
    with pytest.raises(ConfigError, match=r'resume_anyway takes seed, .*, not sed$'):
        check_same(THEN, THEN, 'x.pth', ['sed'])
