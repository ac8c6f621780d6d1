"""The index: every published file is in it, and what it says of models is so."""

import re

import pytest
import torch

from mae.apis import get_model, load_config
from mae.utils.errors import ConfigError
from mae.zoo.checksum import checksum_in, parse_checksum
from mae.zoo.index import entries, find_entry, read_index, weights_for

from . import formula

ENTRIES = entries()
parametrize_entries = pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry.name)


@parametrize_entries
def test_figures_are_those_of_the_model(entry):
    # Counting takes seconds for a large model; test_cost.py holds the formula to the count.
    with torch.device('meta'):
        model = get_model(entry.name, device='meta')
    assert entry.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (entry.flops, entry.training_flops) == formula.flops(model)


@parametrize_entries
def test_facts(entry):
    assert entry.url.startswith('https://')
    if 'openmmlab' in entry.url:
        assert (entry.license, entry.holds) == ('Apache-2.0', 'all')
        assert parse_checksum(entry.checksum) == checksum_in(entry.file)
    else:
        assert entry.license == 'CC-BY-NC-4.0'
        assert entry.source == 'the authors'
        assert (entry.holds == 'encoder') == bool(
            re.fullmatch(r'mae_pretrain_vit_[a-z]+\.pth', entry.file)
        )
    pixels = 'visualize' in entry.url
    model = load_config(entry.config).model
    assert model.get('target', {}).get('norm_pix', True) != pixels


def test_all_published_files_are_listed_and_the_users_first():
    assert ENTRIES[0].file == ('mae_vit-base-p16_8xb512-coslr-400e_in1k-224_20220223-85be947b.pth')
    files = {entry.file for entry in ENTRIES}
    assert len(files) == len(ENTRIES) == 25
    assert len({entry.name for entry in ENTRIES}) == 25
    sizes = 'base', 'large', 'huge'
    for pattern in (
        *('mae_pretrain_vit_{}.pth', 'mae_pretrain_vit_{}_full.pth'),
        *('mae_finetuned_vit_{}.pth', 'mae_visualize_vit_{}.pth'),
    ):
        assert {pattern.format(size) for size in sizes} <= files
    assert 'mae_visualize_vit_large_ganloss.pth' in files
    md5 = {entry.checksum for entry in ENTRIES if entry.checksum and 'md5' in entry.checksum}
    assert md5 == {f'md5:{d}' for d in ('8cad7c', 'b8b06e', '9bdbb0', '1b25e9', '51f550', '2541f2')}


def test_found_by_name_file_and_address():
    first = ENTRIES[0]
    for name in (first.name, first.file, first.file.removesuffix('.pth'), first.url):
        assert find_entry(name) == first
    assert find_entry('mae') is None
    assert weights_for(first.config) == first


def test_entry_without_a_fact_is_named(tmp_path):
    (tmp_path / 'index.yml').write_text('Import: [meta.yml]')
    facts = 'Metadata: {License: MIT, Source: me}'
    (tmp_path / 'meta.yml').write_text(
        f'Models: [{{Name: a, Config: c.py, Weights: "https://a/b", {facts}}}]'
    )
    with pytest.raises(ConfigError, match=r"meta\.yml: a has no 'Parameters'"):
        read_index(tmp_path / 'index.yml')
