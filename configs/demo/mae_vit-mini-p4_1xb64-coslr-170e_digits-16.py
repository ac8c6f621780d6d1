"""The main job in small: MAE on scikit-learn's 1,797 handwritten digits.

    tools/train.py mae_vit-mini-p4_1xb64-coslr-170e_digits-16

Hardware:  2 CPU cores
Time:      3 to 4 minutes of one core
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/digits_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 8e-3
global_batch_size = 64
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=20)
train_cfg = dict(max_epochs=170)
default_hooks = dict(checkpoint=dict(interval=40))
