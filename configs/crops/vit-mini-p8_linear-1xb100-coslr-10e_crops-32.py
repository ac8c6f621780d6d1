"""Linear probe of the frozen encoder on all labels."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/crops_ft.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

base_lr = 30.0  # that of Fashion-MNIST
global_batch_size = 100
model = dict(
    preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    encoder=dict(
        img_size=32,
        patch_size=8,
        in_channels=3,
        drop_path_rate=0.0,
        trainable_pos=False,
        final_norm=True,
    ),
    head=dict(num_classes=40, norm='batch', init_std=0.01),
    loss=dict(label_smoothing=0.0),
    trainable_blocks=0,
)
_crop = dict(type='RandomResizedCrop', scale=(0.5, 1.0), oversize='clamp')
_pipeline = [dict(type='DecodeImage'), _crop, dict(type='RandomFlip'), dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(pipeline=_pipeline))
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=10, val_interval=10)
