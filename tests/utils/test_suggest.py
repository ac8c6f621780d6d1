import pytest

from mae.config.schema import KEYS
from mae.utils.suggest import did_you_mean, is_typo, nearest

PARTS = ['RandomMasker', 'BlockMasker', 'GridMasker', 'ViTEncoder', 'TransformerDecoder']


@pytest.mark.parametrize(
    ('word', 'meant'),
    [
        ('RandomMaker', 'RandomMasker'),
        ('random_masker', 'RandomMasker'),
        ('VitEncoder', 'ViTEncoder'),
        ('ViTEncodre', 'ViTEncoder'),
        ('TransformerDecorder', 'TransformerDecoder'),
    ],
)
def test_nearest(word, meant):
    assert nearest(word, PARTS) == [meant]


def test_words_with_nothing_in_common():
    assert nearest('xyzq', PARTS) == []
    assert did_you_mean('xyzq', ['b', 'a']) == '; known: a, b'
    assert did_you_mean('xyzq', []) == ''


def test_suggestion_with_its_path():
    text = did_you_mean('optimzer', ['optimizer', 'amp'], 'optim_wrapper.')
    assert text == '; did you mean optim_wrapper.optimizer?'


def test_one_slip():
    assert is_typo('optimzer', 'optimizer')
    assert is_typo('maks', 'mask')
    assert not is_typo('mask', 'mask')
    assert not is_typo('mask', 'loss')
    assert is_typo('ab', 'ba')
    assert not is_typo('abcd', 'badc')


def test_one_slip_in_any_key_is_found():
    for key in KEYS:
        middle = len(key) // 2
        start, end = key[:middle], key[middle:]
        exchanged = start + end[1::-1] + end[2:]
        for word in (start + end[1:], f'{start}q{end}', f'{start}q{end[1:]}', exchanged):
            assert nearest(word, KEYS) == [key], word


def test_the_beginning_of_a_name_is_close_to_it():
    assert nearest('lr', ['weight_decay', 'lr_multipliers']) == ['lr_multipliers']
