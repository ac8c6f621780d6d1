"""A segmenter and a detector so small that a test may train several, on scenes of digits.

`changes_of(kind)` are changes for `make_runner`: 10 scenes, batches of 4, so an epoch has three
steps, the last of them smaller.
"""

from copy import deepcopy

ENCODER = dict(
    type='DenseViTEncoder',
    arch=dict(embed_dim=16, depth=4, num_heads=2),
    img_size=32,
    patch_size=4,
    in_channels=1,
    final_norm=False,
)
PREPROCESSOR = dict(type='DensePreprocessor', mean=[20.0], std=[60.0])
SEGMENTER = dict(
    _delete_=True,
    type='Segmenter',
    preprocessor=PREPROCESSOR,
    encoder=dict(ENCODER, rel_pos='table', layer_scale=1.0),
    taps=[0, 1, 2, 3],
    neck=dict(type='LevelsNeck'),
    head=dict(type='UPerHead', num_classes=11, width=8),
    auxiliary=dict(type='FCNHead', num_classes=11, width=8),
    loss=dict(type='PixelCrossEntropyLoss'),
)
DETECTOR = dict(
    _delete_=True,
    type='Detector',
    preprocessor=PREPROCESSOR,
    encoder=dict(
        ENCODER, with_cls_token=False, window_size=3, global_blocks=[1, 3], rel_pos='axes'
    ),
    taps=[3],
    neck=dict(type='SimplePyramid', channels=16),
    rpn=dict(type='RPN', sizes=[4, 8, 16, 24, 32], samples=32, proposals=((60, 40), (60, 40))),
    roi=dict(type='RoIHead', num_classes=10, width=8, hidden=16, samples=16, max_detections=5),
)

# What makes a loss the same however a batch is cut: no statistics of a batch, no dropout.
FREE_OF_BATCHES = {
    'segmenter': {
        **{f'model.{part}.norm': 'channels' for part in ('neck', 'head', 'auxiliary')},
        **{f'model.{part}.dropout': 0.0 for part in ('head', 'auxiliary')},
    },
    'detector': {},
}
TASKS = {'segmenter': 'maps', 'detector': 'instances'}


def loader(kind, split, num_scenes, sampler, *pipeline):
    """A loader of scenes for a kind of model."""
    source = dict(
        type='DigitScenes',
        split=split,
        num_scenes=num_scenes,
        task=TASKS[kind],
        img_size=32,
        digits=(1, 3),
        sizes=(10, 16),
    )
    pipeline = [*pipeline, dict(type='Pad', size=32), dict(type='PackDense')]
    return dict(
        _delete_=True,
        batch_size=4,
        num_workers=0,
        sampler=dict(type=sampler),
        collate_fn=dict(type='collate_dense'),
        dataset=dict(type='SeededDataset', source=source, pipeline=pipeline),
    )


def changes_of(kind, **more):
    """Changes that make `make_runner` train a 'segmenter' or a 'detector', and more of them."""
    jitter = (
        dict(type='LargeScaleJitter', size=32, scale=(0.6, 1.5)),
        dict(type='RandomFlip'),
        dict(type='RandomBlur'),
    )
    train = loader(kind, 'train', 10, 'GlobalBatchSampler', *jitter)
    train['sampler']['drop_last'] = False
    changes = {
        'model': SEGMENTER if kind == 'segmenter' else DETECTOR,
        'train_dataloader': train,
        'global_batch_size': 4,
        'base_lr': 0.1,
        'train_cfg.max_epochs': 2,
        **more,
    }
    return deepcopy(changes)  # a runner takes `_delete_` out of what it is given


def validation_of(kind):
    """Changes that add a validation."""
    val = loader(kind, 'val', 5, 'ShardSampler')
    del val['_delete_']  # there is none to replace
    metric = 'MeanIoU' if kind == 'segmenter' else 'AveragePrecision'
    return {
        'val_dataloader': val,
        'val_cfg': dict(type='ValLoop'),
        'val_evaluator': dict(type=metric),
    }
