"""Fine-tuning on all 1,437 labelled digits.

    tools/train.py vit-mini-p4_ft-1xb128-coslr-40e_digits-16 --load-from PRETRAINED

Hardware:  2 CPU cores
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/digits_linear.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 4e-3
global_batch_size = 128
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=5)
train_cfg = dict(max_epochs=40, val_interval=40)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
