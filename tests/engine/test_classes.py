"""Training and validation number their classes alike, or the run does not start."""

from types import SimpleNamespace

import pytest

from mae.engine.classes import check_classes, check_num_classes
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
        (('a', 'c'), "class 1 is 'c', .*'b' .* 2 .*train_dataloader.dataset"),
        (('b', 'a'), "class 0 is 'b', .*'a' .* 2 "),
        (('a', 'b', 'c'), "class 2 is 'c', .*none .* 2 "),
    ],
)
def test_classes_that_differ(val, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_classes(dataset('a', 'b'), dataset(*val))
    assert '\n' not in str(caught.value)


def test_more_classes_than_the_head_has():
    message = (
        r'^train_dataloader\.dataset has 3 classes, .*model\.head\.num_classes=2 .*; '
        r'set model\.head\.num_classes=3$'
    )
    with pytest.raises(ConfigError, match=message):
        check_num_classes(2, dataset('a', 'b', 'c'))


@pytest.mark.parametrize(
    ('train', 'told'), [(dataset('a'), True), (dataset('a', 'b'), False), (dataset(), False)]
)
def test_fewer_classes_than_the_head_has(train, told, monkeypatch):
    lines = []
    monkeypatch.setattr('mae.engine.classes.print_log', lambda line, *_: lines.append(line))
    check_num_classes(2, train)
    assert ['has 1 class, but model.head.num_classes=2: the rest' in line for line in lines] == (
        [True] if told else []
    )
