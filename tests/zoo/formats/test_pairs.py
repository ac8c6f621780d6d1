"""From every format to every other through files, with no bit changed."""

import itertools

import pytest
import torch

from mae.apis import convert
from mae.zoo.formats import load_weights

FORMATS = ('mae', 'fair', 'transformers', 'mmpretrain', 'lightly')
FACTS = dict(num_heads=3, decoder_num_heads=4)


def path_for(folder, to, name):
    return folder / (name if to == 'transformers' else f'{name}.safetensors')


@pytest.fixture
def source(peers, sizes, fill, tmp_path):
    peers['fair'].save(fill(peers['fair'].build, sizes['small']), tmp_path / 'source.pth')
    return tmp_path / 'source.pth'


def same(one, other):
    one, other = (load_weights(path)['state_dict'] for path in (one, other))
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(('first', 'second'), list(itertools.permutations(FORMATS, 2)))
def test_there_and_back_again(first, second, source, tmp_path):
    one, two = path_for(tmp_path, first, 'one'), path_for(tmp_path, second, 'two')
    three = path_for(tmp_path, first, 'three')
    convert(source, one, first, facts=FACTS)
    convert(one, two, second)
    done = convert(two, three, first)
    assert same(source, three)
    assert any('verified by the manifest' in line for line in done.lines)
    assert load_weights(three)['facts']['num_heads'] == 3


@pytest.mark.parametrize('other', FORMATS)
def test_encoders_by_way_of_timm(other, source, tmp_path):
    one, two = path_for(tmp_path, other, 'one'), tmp_path / 'two.pth'
    convert(source, one, other, facts=FACTS, encoder_only=True)
    convert(one, two, 'timm')
    three = path_for(tmp_path, other, 'three')
    convert(two, three, other, facts=FACTS)
    assert same(one, three)
    assert not any(name.startswith('decoder') for name in load_weights(three)['state_dict'])
