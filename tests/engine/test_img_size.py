"""The model's image size reaches pipelines and sources; a size that disagrees is refused."""

import copy

import pytest
from mmengine.config import Config

from mae import datasets, models  # noqa: F401  (register what the configs name)
from mae.config import find_config, load_config
from mae.datasets.transforms.base import Transform
from mae.engine import Runner
from mae.engine.img_size import fill_in_img_size
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError

FINETUNE = 'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k'
KNN = 'vit-base-p16_knn-8xb512_in1k'
COCO = 'vit-base-p16_mask-rcnn-vitdet-64xb1-steplr-100e_coco-1024'
DIGITS = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'


def sizes(dataset):
    """What its transforms make of an image, in order."""
    built = [TRANSFORMS.build(step) for step in dataset.pipeline]
    return [transform.size for transform in built if hasattr(transform, 'size')]


def test_a_crop_keeps_its_share_of_the_image():
    config = load_config(FINETUNE, {'model.encoder.img_size': 128})
    assert sizes(config.train_dataloader.dataset) == [[128, 128]]
    assert sizes(config.val_dataloader.dataset) == [146, [128, 128]]  # 128 / .875
    assert sizes(config.test_dataloader.dataset) == [146, [128, 128]]


def test_banks_and_hooks():
    dataset = {'type': 'SeededDataset', 'pipeline': [{'type': 'CenterCrop'}]}
    hook = {'type': 'KNNHook', 'dataloader': {'dataset': dataset}}
    config = load_config(KNN, {'model.encoder.img_size': 448, 'custom_hooks': [hook]})
    assert sizes(config.test_cfg.bank_dataloader.dataset) == [512, [448, 448]]
    assert config.custom_hooks[0].dataloader.dataset.pipeline[0]['size'] == 448


def test_images_that_are_not_square():
    config = load_config(FINETUNE, {'model.encoder.img_size': (112, 224)})
    assert sizes(config.train_dataloader.dataset) == [[112, 224]]
    assert sizes(config.val_dataloader.dataset) == [256, [112, 224]]


def test_evaluation_of_objects_follows():
    config = load_config(COCO, {'model.encoder.img_size': (512, 1024)})
    assert sizes(config.train_dataloader.dataset) == [[512, 1024]] * 2
    assert sizes(config.val_dataloader.dataset) == [[512, 1024]] * 2


def test_sources():
    config = load_config(DIGITS, {'model.encoder.img_size': 32})
    assert config.train_dataloader.dataset.source.source.img_size == 32
    assert config.val_dataloader.dataset.source.img_size == 32
    wide = load_config(DIGITS, {'model.encoder.img_size': (8, 12)})  # which digits cannot be
    assert 'img_size' not in wide.val_dataloader.dataset.source


def test_a_transform_of_ones_own_says_what_it_does_to_the_size():
    class Blur(Transform):
        keeps_size = True

        def transform(self, results):
            return results

    class Stretch(Blur):
        keeps_size, sets_size = False, True

        def __init__(self, size):
            self.size = size

    crop, steps = {'type': 'CenterCrop', 'size': 8}, [{'type': Blur}, {'type': 'PackInputs'}]
    config = {'model': {'encoder': {'img_size': 16}}, 'train': {'pipeline': [crop, *steps]}}
    with pytest.raises(ConfigError, match=r'train\.pipeline\.0\.size is 8, but'):
        fill_in_img_size(config)
    config['train']['pipeline'].insert(1, {'type': Stretch})
    assert fill_in_img_size(config) == {'train.pipeline.1.size': 16}
    config['train']['pipeline'].insert(2, {'type': 'DecodeImage'})  # says neither
    config['train']['pipeline'][1]['size'] = 8
    assert fill_in_img_size(config) == {}


def test_an_heir_states_it_once(tmp_path):
    (tmp_path / 'a.py').write_text(
        f"_base_ = '{FINETUNE}'\nmodel = dict(encoder=dict(img_size=64))"
    )
    assert sizes(load_config(tmp_path / 'a.py').val_dataloader.dataset) == [73, [64, 64]]


def test_the_encoders_default_counts():
    config = load_config(FINETUNE)
    del config.model.encoder['img_size']
    assert sizes(load_config(config).train_dataloader.dataset) == [[224, 224]]


def test_a_loaded_config_follows_again():
    config = load_config(FINETUNE, {'model.encoder.img_size': 128})
    larger = load_config(config, {'model.encoder.img_size': 256})
    assert sizes(larger.train_dataloader.dataset) == [[256, 256]]
    assert sizes(config.train_dataloader.dataset) == [[128, 128]]


def test_what_is_changed_by_hand_after_loading_stays():
    config = load_config(FINETUNE)
    config.train_dataloader.dataset.pipeline = [{'type': 'PackInputs'}]
    assert load_config(config).train_dataloader.dataset.pipeline == [{'type': 'PackInputs'}]
    config.val_dataloader.dataset.pipeline[2].size = 192
    with pytest.raises(ConfigError, match=r'pipeline\.2\.size is 192, but'):
        load_config(config)


@pytest.mark.parametrize(
    ('name', 'key', 'value', 'message'),
    [
        (
            FINETUNE,
            'val_dataloader.dataset.pipeline.2.size',
            192,
            'val_dataloader.dataset.pipeline.2.size is 192, but model.encoder.img_size is 224; ',
        ),
        (FINETUNE, 'train_dataloader.dataset.pipeline.0.size', [224, 192], 'is [224, 192], but'),
        (
            DIGITS,
            'train_dataloader.dataset.source.source.img_size',
            32,
            'dataset.source.source.img_size is 32, but model.encoder.img_size is 16; ',
        ),
    ],
)
def test_a_size_that_disagrees(name, key, value, message):
    with pytest.raises(ConfigError) as error:
        load_config(name, {key: value})
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_what_cannot_be_told_is_left_alone():
    unknown = [{'type': 'CenterCrop', 'size': 8}, {'type': 'mmcv.Resize', 'scale': (224, 224)}]
    config = Config(
        {'model': {'encoder': {'img_size': 224}}, 'val_dataloader': {'pipeline': unknown}}
    )
    before = copy.deepcopy(config.to_dict())
    assert fill_in_img_size(config) == {}
    assert config.to_dict() == before
    config.default_scope = 'mmpretrain'  # whose transforms these are then
    config.val_dataloader.pipeline = [{'type': 'CenterCrop', 'crop_size': 8}]
    assert fill_in_img_size(config) == {}
    assert fill_in_img_size(Config({'val_dataloader': {'pipeline': unknown}})) == {}


def test_a_runner_of_mmengines_config(tmp_path):
    config = Config.fromfile(find_config(DIGITS))
    config.model.encoder.img_size = 32
    config.work_dir = str(tmp_path)
    dataset = Runner.from_cfg(config).train_dataloader.dataset
    assert dataset.source.get_data_info(0)['img'].shape == (1, 32, 32)
