"""ImageNet-S-919, linear layer on ViT-B/16 from pre-training, with mmsegmentation's values.

Cls token and positions are decayed: mmsegmentation means to exempt them, and does not."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/seg-linear_vit-base-p16.py',
    '../_base_/datasets/imagenet_s.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

train_pipeline = [
    dict(type='DecodeImage'),
    dict(type='LoadMap', encoding='rg', ignore_index=1000),
    dict(type='ResizeInside', long_side=1024, short_side=256, ratio_range=(0.5, 2.0)),
    dict(type='ClassBalancedCrop', ignore_index=1000),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', map_fill=1000),
    dict(type='PackDense'),
]
val_pipeline = [
    dict(type='DecodeImage'),
    dict(type='ResizeInside', long_side=1024, short_side=256),
    dict(type='LoadMap', encoding='rg', ignore_index=1000),  # at the size of the file
    dict(type='PackDense'),
]
base_lr = 5e-4
global_batch_size = 256
model = dict(encoder=dict(final_norm=True), head=dict(norm='none'), loss=dict(divide_by='all'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.6, decay_tokens=True))
train_cfg = dict(max_epochs=100, val_interval=10)
