"""ViT-H/14 at 448 pixels; evaluation crops the whole short side."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

base_lr = 1e-3
model = dict(encoder=dict(arch='huge', patch_size=14, img_size=448, drop_path_rate=0.3))
train_dataloader = dict(batch_size=32)
val_dataloader = dict(
    batch_size=128,
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
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=50)
