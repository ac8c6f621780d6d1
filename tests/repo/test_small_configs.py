"""The recipes for small data are what `mae pretrain` and `mae finetune` would choose."""

import re
from pathlib import Path

import pytest

from mae.apis.finetune_rules import WARMUP_EPOCHS as TUNING_WARMUP
from mae.apis.finetune_rules import PretrainedSize, finetuning_recipe
from mae.apis.own_classes import FINETUNE_BASE
from mae.apis.pretrain_rules import DECODERS, WARMUP_EPOCHS, pretraining_recipe
from mae.apis.recipe_rules import Given, Images, Machine, choose_interval, choose_warmup
from mae.config import find_config, load_config
from mae.config.grammar import parse_name

ROOT = Path(__file__).parents[2]
LEAVES = sorted((ROOT / 'configs/small').glob('*.py'))
GPU = Machine(has_gpu=True, cores=16)
NUMBER = {'tiny': 5_000, 'small': 51_200}
ids = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def test_each_size_is_pretrained_and_fine_tuned():
    names = [parse_name(leaf.stem) for leaf in LEAVES]
    sizes = {(name.job, name.arch, name.size, name.patch) for name in names}
    assert sizes == {
        (job, arch, size, patch)
        for job in (None, 'ft')
        for arch in NUMBER
        for size, patch in ((224, 16), (96, 8), (64, 8))
    }


@ids
def test_values_are_those_of_the_rules(path):
    name, config = parse_name(path.stem), load_config(path)
    images = Images(NUMBER[name.arch], name.size, name.size**2 / 1e6)
    loader, encoder = config.train_dataloader, config.model.encoder
    if name.job == 'ft':
        recipe = finetuning_recipe(
            images, PretrainedSize(name.arch, name.size, name.patch), GPU, Given()
        )
        warmup = choose_warmup(recipe.epochs.value, TUNING_WARMUP)
        assert config.train_cfg.val_interval == choose_interval(recipe.epochs.value).value
        assert (config.model.preprocessor.mixup is not None) == recipe.mixes.value
        assert config.val_dataloader.batch_size == 2 * recipe.per_device
    else:
        recipe = pretraining_recipe(images, GPU, Given())
        warmup = choose_warmup(recipe.epochs.value, WARMUP_EPOCHS)
        assert (encoder.arch, encoder.patch_size) == (recipe.arch.value, recipe.patch_size.value)
        decoder = config.model.decoder
        assert (decoder.embed_dim, decoder.depth, decoder.num_heads) == DECODERS[name.arch]
    assert config.global_batch_size == recipe.batch_size.value
    assert config.base_lr == recipe.base_lr.value
    assert encoder.img_size == recipe.img_size.value
    assert loader.batch_size == recipe.per_device
    assert config.train_cfg.max_epochs == recipe.epochs.value
    assert config.param_scheduler.warmup_epochs == warmup.value
    interval = choose_interval(recipe.epochs.value).value
    assert config.default_hooks.checkpoint.interval == interval


@ids
def test_the_rest_is_that_of_the_config_which_the_command_inherits(path):
    name = parse_name(path.stem)
    config, base = load_config(path), load_config(find_config(FINETUNE_BASE))
    if name.job != 'ft':
        assert config.train_dataloader.dataset.source.labelled is False
        return
    assert config.optim_wrapper == base.optim_wrapper
    assert encoder_of(config) == encoder_of(base)
    share = [step.get('crop_pct') for step in config.val_dataloader.dataset.pipeline]
    assert (0.875 in share) == (name.size == 224)


def encoder_of(config):
    return {
        key: value
        for key, value in config.model.encoder.items()
        if key not in ('arch', 'img_size', 'patch_size')
    }


@ids
def test_the_first_line_names_the_number_of_images(path):
    number = NUMBER[parse_name(path.stem).arch]
    readme = (ROOT / 'configs/small/README.md').read_text()
    assert f'{number:,}' in readme
    for found in re.findall(r'about ([\d,]+) ', path.read_text().splitlines()[0]):
        assert found == f'{number:,}'


def test_a_folder_without_splits_takes_one_option():
    split = {'train_dataloader.dataset.source.split': ''}
    config = load_config(LEAVES[0], split)
    assert config.train_dataloader.dataset.source.split == ''
