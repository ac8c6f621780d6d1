"""Features come back from a file as they were, with the names of their rows."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mae.apis.features import save_features

NAMES = ['a', 'ä b']


@pytest.fixture
def features():
    return SimpleNamespace(features=torch.arange(6.0).reshape(2, 3), names=NAMES)


def test_numpy(tmp_path, features):
    save_features(features, tmp_path / 'new' / 'x.npy')
    assert np.load(tmp_path / 'new' / 'x.npy').tolist() == features.features.tolist()
    assert (tmp_path / 'new' / 'x.npy.txt').read_text(encoding='utf-8').splitlines() == NAMES
    save_features(features, tmp_path / 'x.npz')
    found = np.load(tmp_path / 'x.npz')
    assert found['names'].tolist() == NAMES
    assert found['features'].tolist() == features.features.tolist()


def test_names_that_are_no_text_go_there_and_back(tmp_path):
    names = [os.fsdecode(b'a\xff.png'), 'b']
    features = SimpleNamespace(features=torch.zeros(2, 3), names=names)
    for suffix in ('npy', 'npz', 'safetensors'):
        save_features(features, tmp_path / f'x.{suffix}')
    written = (tmp_path / 'x.npy.txt').read_bytes().splitlines()
    assert [os.fsdecode(line) for line in written] == names
    assert np.load(tmp_path / 'x.npz')['names'].tolist() == names
    with safe_open(tmp_path / 'x.safetensors', 'numpy') as found:
        assert json.loads(found.metadata()['names']) == names


def test_safetensors(tmp_path, features):
    save_features(features, tmp_path / 'x.safetensors')
    with safe_open(tmp_path / 'x.safetensors', framework='pt') as file:
        assert torch.equal(file.get_tensor('features'), features.features)
        assert 'names' in file.metadata()


def test_another_ending(tmp_path, features):
    with pytest.raises(ValueError, match=r'are written to .*, not to .*x.csv'):
        save_features(features, tmp_path / 'x.csv')
