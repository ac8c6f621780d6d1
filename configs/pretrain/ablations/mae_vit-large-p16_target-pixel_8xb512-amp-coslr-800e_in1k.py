"""Table 1's default: plain pixels; the other configs of this folder inherit it."""

_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/models/mae_vit-base-p16.py',
    '../../_base_/datasets/imagenet_mae.py',
    '../../_base_/schedules/adamw_coslr_pretrain.py',
]

model = dict(encoder=dict(arch='large'), target=dict(norm_pix=False))
train_cfg = dict(max_epochs=800)
