"""Corrupted key sets: refused where names, shapes or the manifest tell, else said to be unverified.

Without a manifest or a hash nothing tells a transposed square matrix from a right one, nor
queries from keys: such files load, and the report says that their values are unverified.
"""

import random
from pathlib import Path

import pytest
import torch

from mae.fault_tolerance.checkpoint import fit_weights
from mae.utils.errors import CheckpointError
from mae.zoo.formats import BY_NAME, export_weights, translate
from mae.zoo.formats.translate import UNVERIFIED

LAYOUTS = ('mae', 'fair', 'transformers', 'mmpretrain', 'lightly')
FACTS = dict(num_heads=3, decoder_num_heads=4, norm_eps=1e-6, grid_size=[3, 3], norm_pix=True)
PATH = Path('some/model.pth')


def rename(weights, rng):
    key = rng.choice(list(weights))
    value = weights.pop(key)
    place = rng.randrange(len(key))
    weights[key[:place] + 'x' + key[place + 1 :]] = value
    return True


def drop(weights, rng):
    del weights[rng.choice(list(weights))]
    return True


def reshape(weights, rng):
    key = rng.choice(list(weights))
    weights[key] = weights[key].flatten()[:-1]
    return True


def transpose(weights, rng):
    key = rng.choice([key for key, value in weights.items() if value.ndim == 2])
    weights[key] = weights[key].T.contiguous()
    rows, columns = weights[key].shape
    return rows != columns


def swap_qkv(weights, rng):
    """Exchange two of q, k, v in one layer: keys where they are split, else rows."""
    fused = [key for key in weights if key.endswith('attn.qkv.weight')]
    one, other = rng.sample(range(3), 2)
    if fused:
        key = rng.choice(fused)
        parts = list(weights[key].chunk(3))
        parts[one], parts[other] = parts[other], parts[one]
        weights[key] = torch.cat(parts)
        return False
    names = ('query', 'key', 'value')
    key = rng.choice([key for key in weights if key.endswith('query.weight')])
    one, other = (key.replace('query', names[n]) for n in (one, other))
    weights[one], weights[other] = weights[other], weights[one]
    return False


KINDS = (rename, drop, reshape, transpose, swap_qkv)


@pytest.fixture(scope='module')
def files():
    return {}


@pytest.fixture
def file_of(files, peers, sizes, fill):
    """file_of(layout) is a checkpoint of the small model in that layout."""

    def make(layout):
        if layout not in files:
            weights = fill(peers['fair'].build, sizes['small']).state_dict()
            ours = translate({'state_dict': weights}, PATH).weights
            exported = export_weights(ours, BY_NAME[layout], FACTS, PATH)
            files[layout] = exported.weights, exported.metadata
        weights, metadata = files[layout]
        return dict(weights), metadata

    return make


def load(model, weights, meta):
    found = translate({'state_dict': weights, 'meta': meta}, PATH)
    report = fit_weights(
        model, found.weights, PATH, exact=True, facts=found.facts, notes=found.notes
    )
    return str(report)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_whole_files_load(layout, file_of, our_mae, sizes):
    weights, metadata = file_of(layout)
    report = load(our_mae(sizes['small']), weights, {'mae': metadata})
    assert 'verified by the manifest' in str(report)
    assert UNVERIFIED in load(our_mae(sizes['small']), weights, {})


@pytest.mark.parametrize('seed', range(100))
def test_none_loads_silently(seed, file_of, our_mae, sizes):
    rng = random.Random(seed)
    layout, corrupt = LAYOUTS[seed % len(LAYOUTS)], KINDS[seed // len(LAYOUTS) % len(KINDS)]
    weights, metadata = file_of(layout)
    visible = corrupt(weights, rng)
    model = our_mae(sizes['small'])
    with pytest.raises(CheckpointError):
        load(model, weights, {'mae': metadata})
    if visible:
        with pytest.raises(CheckpointError):
            load(model, weights, {})
    else:
        assert UNVERIFIED in load(model, weights, {})
