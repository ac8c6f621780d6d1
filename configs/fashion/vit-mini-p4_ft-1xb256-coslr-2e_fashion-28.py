"""Fine-tuning on all 60,000 labels; all that train the whole network inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/fashion_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 2e-3
global_batch_size = 256
model = dict(preprocessor=dict(mean=[72.94], std=[90.02]), encoder=dict(img_size=28))
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=0.25)
train_cfg = dict(max_epochs=2, val_interval=2)
