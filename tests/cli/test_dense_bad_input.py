"""Mistakes of segmentation and detection by `tools/train.py`: one line, nothing half-written."""

import json

import numpy as np
import pytest
from PIL import Image

TEXT = """
_encoder = dict(
    type='DenseViTEncoder', arch=dict(embed_dim=16, depth=1, num_heads=2), img_size=16,
    patch_size=4, in_channels=1)
_preprocessor = dict(type='DensePreprocessor', mean=[20.0], std=[60.0])
_segmenter = dict(
    _delete_=True, type='Segmenter', encoder=_encoder, preprocessor=_preprocessor, taps=[0],
    head=dict(type='PixelLinearHead', num_classes=11), loss=dict(type='PixelCrossEntropyLoss'))
_detector = dict(
    _delete_=True, type='Detector', encoder=dict(_encoder, with_cls_token=False),
    preprocessor=_preprocessor, taps=[0], neck=dict(type='SimplePyramid', channels=8),
    rpn=dict(type='RPN', sizes=[4, 8, 12, 16, 16]),
    roi=dict(type='RoIHead', num_classes=10, width=8, hidden=8))
_scenes = dict(type='DigitScenes', num_scenes=4, img_size=16, digits=(1, 1), sizes=(8, 10))
_pack = [dict(type='PackDense')]
_common = dict(_delete_=True, batch_size=2, collate_fn=dict(type='collate_dense'))


def _loader(sampler, source, pipeline=_pack):
    dataset = dict(type='SeededDataset', source=source, pipeline=pipeline)
    return dict(_common, sampler=dict(type=sampler), dataset=dataset)


global_batch_size = 2
"""
SEGMENT = """
model = _segmenter
train_dataloader = _loader('GlobalBatchSampler', dict(_scenes, task='maps'))
val_dataloader = _loader('ShardSampler', dict(_scenes, task='maps', split='val'))
val_evaluator = dict(_delete_=True, type='MeanIoU')
"""
DETECT = """
model = _detector
train_dataloader = _loader('GlobalBatchSampler', dict(_scenes, task='instances'))
val_dataloader = _loader('ShardSampler', dict(_scenes, task='instances', split='val'))
val_evaluator = dict(_delete_=True, type='AveragePrecision')
"""


@pytest.fixture
def refused(train, work_dir):
    """refused(text, *options) is the error line of a training that must leave nothing behind."""

    def call(text, *options):
        error = train(*options, text=TEXT + text, base='ft').error
        assert not work_dir.exists()
        return error

    return call


def test_fewer_classes_than_the_maps_have(refused):
    error = refused(SEGMENT, 'model.head.num_classes=5')
    assert 'train_dataloader.dataset has 11 classes, but model.head.num_classes=5 takes' in error


def test_fewer_classes_than_the_objects_have(refused):
    error = refused(DETECT, 'model.roi.num_classes=5')
    assert 'has 10 classes, but model.roi.num_classes=5 takes labels 0..4; set model.roi' in error


@pytest.fixture
def coco(tmp_path):
    """Two annotation files of the same images, whose categories differ; text of their loaders."""
    names = [f'{n}.png' for n in range(4)]
    for name in names:
        (tmp_path / 'val').mkdir(exist_ok=True)
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / 'val' / name)
    for split, categories in (('train', ('cat', 'dog')), ('val', ('cat', 'cow'))):
        content = {
            'images': [
                {'id': n, 'file_name': name, 'height': 16, 'width': 16}
                for n, name in enumerate(names)
            ],
            'annotations': [],
            'categories': [{'id': n, 'name': name} for n, name in enumerate(categories)],
        }
        (tmp_path / f'{split}.json').write_text(json.dumps(content))
    root = str(tmp_path / 'val')
    return f"""
_pipeline = [dict(type='DecodeImage', channels=1), dict(type='LoadInstances', with_masks=False),
             *_pack]


def _coco(split):
    return dict(type='CocoInstances', root={root!r}, annotations=split + '.json')


train_dataloader = _loader('GlobalBatchSampler', _coco('train'), _pipeline)
val_dataloader = _loader('ShardSampler', _coco('val'), _pipeline)
"""


def test_validation_with_other_categories(refused, coco):
    error = refused(DETECT + coco)
    assert "val_dataloader.dataset: class 1 is 'cow', but 'dog' of the 2 in train_" in error


def test_images_that_are_missing(refused, coco, tmp_path):
    (tmp_path / 'val' / '2.png').unlink()
    error = refused(DETECT + coco)
    assert 'error: train_dataloader: 1 of the 4 files of ' in error
    assert error.endswith(': 2.png')


def test_labels_that_the_head_does_not_have(train, tmp_path, work_dir):
    """The folder names no classes, so the training itself finds them."""
    for folder, value in (('images', 0), ('maps', 11)):
        (tmp_path / folder).mkdir()
        for n in range(4):
            Image.fromarray(np.full((16, 16), value, np.uint8)).save(tmp_path / folder / f'{n}.png')
    folders = f"type='LabelMapFolder', root={str(tmp_path)!r}, images='images', maps='maps'"
    text = f"""
_pipeline = [dict(type='DecodeImage', channels=1), dict(type='LoadMap'), *_pack]
train_dataloader = _loader('GlobalBatchSampler', dict({folders}), _pipeline)
"""
    error = train(text=TEXT + SEGMENT + text, base='ft').error
    assert 'a batch: 512 pixels of the label map are neither one of the 11 classes' in error
    assert not list(work_dir.glob('*.pth'))
