"""The table names configs that exist, and an encoder finds its own."""

from dataclasses import replace

import pytest
import torch

from mae.apis import convert, init_model, load_config
from mae.protocol import PROTOCOLS, recipes
from mae.protocol.recipes import RECIPES, find_arch, shipped_name
from mae.protocol.stages import options_of, stages_of
from mae.utils.errors import CheckpointError, ConfigError

IN1K = [arch for arch in RECIPES if arch != 'vit-mini-p4']


def pretraining(arch):
    pattern = 'mae_{arch}_1x*_digits-16' if arch == 'vit-mini-p4' else 'mae_{arch}_8x*-400e_in1k'
    return load_config(shipped_name(arch, pattern))


@pytest.fixture
def weights(tmp_path):
    """weights(changes) writes a checkpoint of the digits' model."""

    def write(rename=lambda name: name):
        state = init_model(pretraining('vit-mini-p4')).state_dict()
        path = tmp_path / 'epoch_1.pth'
        torch.save({'state_dict': {rename(name): value for name, value in state.items()}}, path)
        return path

    return write


@pytest.mark.parametrize('arch', RECIPES)
def test_every_stage_has_a_config_that_takes_its_options(arch):
    stages = stages_of(RECIPES[arch], arch, PROTOCOLS)
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


@pytest.mark.parametrize('arch', RECIPES)
def test_pretraining_config_finds_its_architecture(arch):
    assert find_arch(pretraining(arch)) == arch


def test_checkpoint_finds_its_architecture(weights):
    assert find_arch(weights()) == 'vit-mini-p4'
    assert find_arch(weights(lambda name: f'module.{name}')) == 'vit-mini-p4'
    assert find_arch(weights(lambda name: f'student._orig_mod.{name}')) == 'vit-mini-p4'


def test_file_of_another_format_finds_its_architecture(weights, tmp_path):
    convert(weights(), tmp_path / 'timm.safetensors', 'timm')
    assert find_arch(tmp_path / 'timm.safetensors') == 'vit-mini-p4'


def test_unknown_encoder_names_the_known():
    config = pretraining('vit-base-p16')
    config.model.encoder.patch_size = 32
    with pytest.raises(
        ConfigError, match=r'768.*patch 32; there are some for vit-base-p16'
    ) as error:
        find_arch(config)
    assert '\n' not in str(error.value)
    assert all(arch in str(error.value) for arch in RECIPES)


def test_checkpoint_without_encoder(weights):
    path = weights(lambda name: name.replace('encoder.', 'other_'))
    with pytest.raises(CheckpointError, match=rf'^{path} is no ViT .*other_cls'):
        find_arch(path)


@pytest.mark.parametrize('found', [[], ['vit-tiny-p8_knn-1xb1_in1k', 'vit-tiny-p8_knn-1xb2_in1k']])
def test_pattern_must_fit_one(monkeypatch, tmp_path, found):
    monkeypatch.setattr(recipes, 'shipped_configs', lambda: [tmp_path / f'{s}.py' for s in found])
    with pytest.raises(ConfigError, match=r'vit-tiny-p8_knn-\*_in1k, and configs/ has (none|.*, )'):
        shipped_name('vit-tiny-p8', '{arch}_knn-*_in1k')


def test_first_pattern_that_fits_wins():
    whole = RECIPES['vit-large-p16'].finetune[1.0]
    few = RECIPES['vit-large-p16'].finetune[0.1]
    assert shipped_name('vit-large-p16', few, whole).endswith('10pct')
    assert shipped_name('vit-large-p16', few.replace('10', '7'), whole).endswith('50e_in1k')


@pytest.mark.parametrize('arch', IN1K)
def test_data_goes_to_every_source(arch):
    for stage in stages_of(RECIPES[arch], arch, PROTOCOLS):
        options, config = options_of(stage, 0, '/some/where', [])
        assert 'data/imagenet' not in str(config._cfg_dict)
        assert str(config._cfg_dict).count("'root': '/some/where'") >= 2
        assert any('/some/where' in option for option in options)


def test_grids_and_longer_training_from_scratch_are_part_of_a_recipe():
    grids = {1: (1e-3, 2e-3, 4e-3), 3: (5e-4, 1e-3, 2e-3)}
    recipe = replace(recipes.DIGITS, scratch_base_lrs=grids)
    short, longer = stages_of(recipe, 'vit-mini-p4', ['scratch'])
    keys = [f'scratch-lr{rate}' for rate in grids[1]]
    assert [trial.key for trial in short.trials] == keys
    epochs = options_of(short.trials[0], 0, None, [])[1].train_cfg.max_epochs
    given = ['train_cfg.val_interval=1']
    options, config = options_of(longer.trials[2], 0, None, given)
    assert options == ['base_lr=0.002', f'train_cfg.max_epochs={3 * epochs}', *given]
    assert config.base_lr == 2e-3
    assert longer.trials[2].key == 'scratch-3x-lr0.002'
    only_longer = replace(recipe, scratch_base_lrs={3: grids[3]})
    assert stages_of(only_longer, 'vit-mini-p4', ['scratch'])[0].trials[0].base_lr is None


def test_options_go_where_their_section_is():
    given = ['train_cfg.max_epochs=7', 'model.encoder.arch.depth=3']
    stages = stages_of(RECIPES['vit-mini-p4'], 'vit-mini-p4', ['knn', 'linear'])
    by_protocol = {stage.protocol: options_of(stage, 0, None, given) for stage in stages}
    assert by_protocol['knn'][0] == given[1:]
    assert by_protocol['linear'][1].train_cfg.max_epochs == 7
