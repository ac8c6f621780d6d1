"""Configs of a small segmenter and a small detector on scenes of digits, as text."""

from pathlib import Path

_ROOT = Path(__file__).parents[1] / 'configs' / '_base_'

_COMMON = f"""
_base_ = [{str(_ROOT / 'default_runtime.py')!r},
          {str(_ROOT / 'schedules' / 'adamw_coslr_finetune.py')!r}]
scenes = dict(type='DigitScenes', num_scenes=8, img_size=32, digits=(1, 2), sizes=(14, 18))
encoder = dict(type='DenseViTEncoder', arch=dict(embed_dim=32, depth=2, num_heads=2), img_size=32,
               patch_size=4, in_channels=1, with_cls_token=False, final_norm=False)
preprocessor = dict(type='DensePreprocessor', mean=[20.0], std=[60.0])
base_lr = 0.05
global_batch_size = 4
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=0)
train_cfg = dict(max_epochs=2, val_interval=1)
"""

_LOADERS = """
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(type='SeededDataset', source=dict(**scenes, split='train', task={task!r}),
                 pipeline=[dict(type='RandomFlip'), dict(type='PackDense')]))
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(type='SeededDataset', source=dict(**scenes, split='val', task={task!r}),
                 pipeline=[dict(type='PackDense')]))
test_dataloader = val_dataloader
val_evaluator = {evaluator}
test_evaluator = val_evaluator
"""

SEGMENTER = (
    _COMMON
    + _LOADERS.format(task='maps', evaluator="dict(type='MeanIoU')")
    + """
model = dict(
    type='Segmenter', preprocessor=preprocessor, encoder=encoder, taps=[1],
    head=dict(type='PixelLinearHead', num_classes=11, init_std=0.1),
    loss=dict(type='PixelCrossEntropyLoss'))
"""
)

DETECTOR = (
    _COMMON
    + _LOADERS.format(
        task='instances',
        evaluator="[dict(type='AveragePrecision', iou='box'),"
        " dict(type='AveragePrecision', iou='mask')]",
    )
    + """
model = dict(
    type='Detector', preprocessor=preprocessor, encoder=encoder, taps=[1],
    neck=dict(type='SimplePyramid', channels=16),
    rpn=dict(type='RPN', sizes=[4, 8, 16, 24, 32], samples=64),
    roi=dict(type='RoIHead', num_classes=10, width=16, hidden=32, samples=32, min_score=0.0,
             max_detections=8))
"""
)
