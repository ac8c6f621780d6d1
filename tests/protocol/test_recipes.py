"""The table names configs that exist, and an encoder finds its own."""

from dataclasses import replace

import pytest
import torch

from mae.apis import convert, init_model, load_config
from mae.protocol import PROTOCOLS, recipes
from mae.protocol.recipes import RECIPES, find_recipe, shipped_name
from mae.protocol.stages import options_of, stages_of
from mae.utils.errors import CheckpointError, ConfigError

PRETRAINED = {
    'in1k': 'mae_{arch}_8x*-400e_in1k',
    'digits': 'mae_{arch}_1x*_digits-16',
    'fashion': 'mae_{arch}_1x*_fashion-28',
    'crops': 'mae_{arch}_1x*_crops-32',
}
FOUND = [(data, arch) for data, recipe in RECIPES.items() for arch in recipe.archs]
parametrize_found = pytest.mark.parametrize(('data', 'arch'), FOUND)
DIGITS = 'digits', 'vit-mini-p4'


def pretraining(arch, data='digits'):
    return load_config(shipped_name(arch, PRETRAINED[data]))


@pytest.fixture
def weights(tmp_path):
    """weights(changes, data) writes a checkpoint of the digits' or other data's model."""

    def write(rename=lambda name: name, data='digits'):
        state = init_model(pretraining('vit-mini-p4', data)).state_dict()
        path = tmp_path / 'epoch_1.pth'
        torch.save({'state_dict': {rename(name): value for name, value in state.items()}}, path)
        return path

    return write


@parametrize_found
def test_every_stage_has_a_config_that_takes_its_options(data, arch):
    stages = stages_of(RECIPES[data], arch, PROTOCOLS)
    assert {stage.protocol for stage in stages} == {*PROTOCOLS}
    for stage in stages:
        _, config = options_of(stage, 1, None, [])
        assert stage.config.startswith(f'{arch}_')
        if stage.blocks is not None:
            assert config.model.trainable_blocks == stage.blocks
        source = config.get('train_dataloader', {}).get('dataset', {}).get('source', {})
        if stage.share is not None and stage.share < 1:
            assert (source.type, source.fraction, source.seed) == ('Subset', stage.share, 1)
        elif stage.shots:
            assert (source.type, source.per_class, source.seed) == ('Subset', stage.shots, 1)
        elif source:
            assert source.type != 'Subset'


@parametrize_found
def test_pretraining_config_finds_its_recipe(data, arch):
    assert find_recipe(pretraining(arch, data)) == (data, arch)


def test_config_of_another_name_goes_by_the_number_of_patches(tmp_path):
    path = tmp_path / 'garments.py'
    path.write_text(f'_base_ = {str(pretraining("vit-mini-p4", "fashion").filename)!r}\n')
    assert find_recipe(load_config(path)) == ('fashion', 'vit-mini-p4')


def test_checkpoint_finds_its_recipe(weights):
    assert find_recipe(weights()) == DIGITS
    assert find_recipe(weights(lambda name: f'module.{name}')) == DIGITS
    assert find_recipe(weights(lambda name: f'student._orig_mod.{name}')) == DIGITS
    assert find_recipe(weights(data='fashion')) == ('fashion', 'vit-mini-p4')


def test_transfer_names_the_data_of_the_evaluations(weights):
    assert find_recipe(weights(), 'fashion') == ('fashion', 'vit-mini-p4')
    with pytest.raises(ConfigError, match=r'there are some for vit-base-p16 of ImageNet-1k'):
        find_recipe(weights(), 'in1k')


def test_neither_name_nor_size_decides(tmp_path):
    path = tmp_path / 'larger.py'
    base = str(pretraining('vit-mini-p4').filename)
    path.write_text(f'_base_ = {base!r}\nmodel = dict(encoder=dict(img_size=32))\n')
    with pytest.raises(ConfigError, match=r'65 tokens; there .*17 tokens.*50 tokens.*--recipe'):
        find_recipe(load_config(path))


def test_file_of_another_format_finds_its_recipe(weights, tmp_path):
    convert(weights(), tmp_path / 'timm.safetensors', 'timm')
    assert find_recipe(tmp_path / 'timm.safetensors') == DIGITS


def test_unknown_encoder_names_the_known():
    config = pretraining('vit-base-p16', 'in1k')
    config.model.encoder.patch_size = 32
    with pytest.raises(
        ConfigError, match=r'768.*patch 32, .*there are some for vit-base-p16'
    ) as error:
        find_recipe(config)
    assert '\n' not in str(error.value)
    assert all(arch in str(error.value) for _, arch in FOUND)


def test_checkpoint_without_encoder(weights):
    path = weights(lambda name: name.replace('encoder.', 'other_'))
    with pytest.raises(CheckpointError, match=rf'^{path} is no ViT .*other_cls'):
        find_recipe(path)


@pytest.mark.parametrize('found', [[], ['vit-tiny-p8_knn-1xb1_in1k', 'vit-tiny-p8_knn-1xb2_in1k']])
def test_pattern_must_fit_one(monkeypatch, tmp_path, found):
    monkeypatch.setattr(recipes, 'shipped_configs', lambda: [tmp_path / f'{s}.py' for s in found])
    with pytest.raises(ConfigError, match=r'vit-tiny-p8_knn-\*_in1k, and configs/ has (none|.*, )'):
        shipped_name('vit-tiny-p8', '{arch}_knn-*_in1k')


def test_first_pattern_that_fits_wins():
    whole = RECIPES['in1k'].finetune[1.0]
    few = RECIPES['in1k'].finetune[0.1]
    assert shipped_name('vit-large-p16', few, whole).endswith('10pct')
    assert shipped_name('vit-large-p16', few.replace('10', '7'), whole).endswith('50e_in1k')


@pytest.mark.parametrize(('data', 'arch'), [found for found in FOUND if found != DIGITS])
def test_data_goes_to_every_source(data, arch):
    for stage in stages_of(RECIPES[data], arch, PROTOCOLS):
        options, config = options_of(stage, 0, '/some/where', [])
        assert 'data/' not in str(config._cfg_dict)
        assert str(config._cfg_dict).count("'root': '/some/where'") >= 2
        assert any('/some/where' in option for option in options)


def test_grids_and_longer_training_from_scratch_are_part_of_a_recipe():
    grids = {1: (1e-3, 2e-3, 4e-3), 3: (5e-4, 1e-3, 2e-3)}
    recipe = replace(recipes.DIGITS, scratch_base_lrs={1.0: grids})
    short, longer = stages_of(recipe, 'vit-mini-p4', ['scratch'])
    keys = [f'scratch-lr{rate}' for rate in grids[1]]
    assert [trial.key for trial in short.trials] == keys
    epochs = options_of(short.trials[0], 0, None, [])[1].train_cfg.max_epochs
    given = ['train_cfg.val_interval=1']
    options, config = options_of(longer.trials[2], 0, None, given)
    assert options == ['base_lr=0.002', f'train_cfg.max_epochs={3 * epochs}', *given]
    assert config.base_lr == 2e-3
    assert longer.trials[2].key == 'scratch-3x-lr0.002'
    only_longer = replace(recipe, scratch_base_lrs={1.0: {3: grids[3]}})
    assert stages_of(only_longer, 'vit-mini-p4', ['scratch'])[0].trials[0].base_lr is None


def test_options_go_where_their_section_is():
    given = ['train_cfg.max_epochs=7', 'model.encoder.arch.depth=3']
    stages = stages_of(RECIPES['digits'], 'vit-mini-p4', ['knn', 'linear'])
    by_protocol = {stage.protocol: options_of(stage, 0, None, given) for stage in stages}
    assert by_protocol['knn'][0] == given[1:]
    assert by_protocol['linear'][1].train_cfg.max_epochs == 7


def test_from_scratch_on_each_share_of_the_labels():
    rows = stages_of(RECIPES['fashion'], 'vit-mini-p4', ['scratch'])
    keys = ['scratch-1pct', 'scratch-1pct-3x', 'scratch-10pct', 'scratch-10pct-3x']
    assert [row.key for row in rows] == [*keys, 'scratch', 'scratch-3x']
    assert [row.share for row in rows] == [0.01, 0.01, 0.1, 0.1, None, None]
    for row in rows:
        given = options_of(row, 0, None, [])[1].base_lr
        assert given in row.base_lrs or len(row.base_lrs) == 1, 'one of its grid'
    options, config = options_of(rows[1].trials[1], 2, None, [])
    assert config.train_dataloader.dataset.source.seed == 2
    assert config.train_cfg.max_epochs == 90
    assert 'base_lr=0.005' in options
