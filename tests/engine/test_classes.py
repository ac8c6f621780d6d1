"""Training and validation number their classes alike, or the run does not start."""

from types import SimpleNamespace

import pytest

from mae.engine.classes import check_classes
from mae.utils.errors import ConfigError


def dataset(*classes):
    return SimpleNamespace(metainfo={'classes': classes})


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        (dataset('a', 'b'), dataset('a', 'b')),
        (dataset('a', 'b', 'c'), dataset('a', 'b')),  # numbers of a list without the last
        (dataset(), dataset('a')),
        (dataset('a'), SimpleNamespace()),
    ],
)
def test_classes_that_agree_or_are_not_known(train, val):
    check_classes(train, val)


@pytest.mark.parametrize(
    ('val', 'message'),
    [
        (('a', 'c'), "class 1 is 'c', but 'b' of the 2 in train_dataloader.dataset"),
        (('b', 'a'), "class 0 is 'b', but 'a' of the 2"),
        (('a', 'b', 'c'), "class 2 is 'c', but none of the 2"),
    ],
)
def test_classes_that_differ(val, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_classes(dataset('a', 'b'), dataset(*val))
    assert '\n' not in str(caught.value)
