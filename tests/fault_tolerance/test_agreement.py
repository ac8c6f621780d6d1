"""Processes that were started with different things are told so, all of them, in one line."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mae.fault_tolerance import agreement
from mae.utils.errors import ConfigError


@pytest.fixture
def together(monkeypatch):
    """together(check, *facts) is what each of as many processes raises, here threads."""

    def call(check, *facts):
        barrier, table, own = threading.Barrier(len(facts), timeout=30), {}, threading.local()

        def gather(value):
            barrier.wait()
            table[own.rank] = value
            barrier.wait()
            return [table[rank] for rank in range(len(facts))]

        def process(rank):
            own.rank = rank
            try:
                check(facts[rank])
            except ConfigError as error:
                return str(error)
            return None

        monkeypatch.setattr(agreement, 'all_gather_object', gather)
        monkeypatch.setattr(agreement.socket, 'gethostname', lambda: f'node{own.rank}')
        with ThreadPoolExecutor(len(facts)) as pool:
            return list(pool.map(process, range(len(facts))))

    return call


def test_the_same(together):
    facts = {'a': 1, 'b': [1, 'x']}
    assert together(lambda own: agreement.check_agreement('data', own), *[facts] * 3) == [None] * 3


def test_all_are_told_the_first_difference(together):
    facts = {'a': 1, 'b': 2, 'c': 3}
    changed = {**facts, 'b': 7, 'c': 8}
    said = together(lambda own: agreement.check_agreement('data', own), facts, facts, changed)
    expected = (
        'process 2 (node2) has other data than process 0 (node0): b is 7 there, 2 on process 0; '
        'start the same on every node'
    )
    assert said == [expected] * 3
    (said, *_) = together(lambda own: agreement.check_agreement('data', own), facts, {}, changed)
    assert said.startswith('process 1 (node1) and 1 more has other data than process 0')
    assert 'a is missing there, 1 on process 0' in said


CONFIG = {
    'model': {'encoder': {'depth': 12}, 'taps': [1, 2]},
    'work_dir': 'here',
    'launcher': 'pytorch',
    'hook': print,
}


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'work_dir': 'there', 'load_from': '/elsewhere/x.pth'}, None),
        ({'hook': len}, None),  # of the same type: nothing that is the same everywhere tells it
        ({'model': {'encoder': {'depth': 24}, 'taps': [1, 2]}}, 'model.encoder.depth is 24 there'),
        ({'model': {'encoder': {'depth': 12}, 'taps': [1, 3]}}, 'model.taps.1 is 3 there, 2 on'),
        ({'seed': 'x'}, "seed is 'x' there, missing on process 0"),
    ],
)
def test_configs(together, changes, expected):
    said = together(agreement.check_started_alike, CONFIG, {**CONFIG, **changes})
    assert said[0] == said[1]
    assert (said[0] is None) if expected is None else (expected in said[0])


def test_code(together, monkeypatch):
    digests = iter(['aaaa', 'bbbb'])
    monkeypatch.setattr(agreement, 'code_digest', lambda: next(digests))
    said = together(agreement.check_started_alike, CONFIG, CONFIG)
    assert all('has other code or libraries' in line and 'mae code is ' in line for line in said)


def test_the_digest_of_the_code_is_of_its_files():
    assert agreement.code_digest() == agreement.code_digest.__wrapped__()
    assert len(agreement.code_digest()) == 12
