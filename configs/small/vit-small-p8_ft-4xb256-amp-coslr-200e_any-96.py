"""ViT-S/8 at 96 pixels, fine-tuned on about 51,200 labelled images."""

_base_ = './vit-tiny-p16_ft-1xb512-amp-coslr-200e_any.py'

base_lr = 1e-3
global_batch_size = 1024
model = dict(encoder=dict(arch='small', img_size=96, patch_size=8))
train_dataloader = dict(batch_size=256)
val_dataloader = dict(
    batch_size=512,
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ]
    ),
)
test_dataloader = val_dataloader
