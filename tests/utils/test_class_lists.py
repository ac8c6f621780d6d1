import hashlib
from pathlib import Path

import pytest
import timm

from mae.utils.class_lists import CLASS_LISTS, class_list, subset_indices
from mae.utils.errors import ConfigError

INFO = Path(timm.__file__).parent / 'data' / '_info'


def words(name):
    return tuple((INFO / name).read_text().split())


def test_equal_to_timms():
    assert class_list('imagenet') == words('imagenet_synsets.txt')
    for letter in 'ar':
        name = f'imagenet-{letter}'
        assert class_list(name) == words(f'imagenet_{letter}_synsets.txt')
        assert subset_indices(name) == tuple(map(int, words(f'imagenet_{letter}_indices.txt')))


def test_facts_that_others_published():
    names = {name: class_list(name) for name in CLASS_LISTS}
    assert [len(names[name]) for name in CLASS_LISTS] == [1000, 1000, 200, 200]
    assert len(set(names['imagenet-a']) & set(names['imagenet-r'])) == 86
    assert all(list(names[n]) == sorted(names[n]) for n in CLASS_LISTS if n != 'imagenet-v2')
    assert names['imagenet-v2'][100] == '100'
    for name, start in (('imagenet-a', 'f6aa4b23'), ('imagenet-r', 'e19a59d8')):
        text = '\n'.join(names[name])
        assert hashlib.sha256(text.encode()).hexdigest().startswith(start)


def test_other_names():
    with pytest.raises(ConfigError, match=r"^'imagenet-s' is no list of classes; did you mean im"):
        class_list('imagenet-s')
    with pytest.raises(ConfigError, match=r"no subset of ImageNet-1k; known are 'imagenet-a' and"):
        subset_indices('imagenet')
