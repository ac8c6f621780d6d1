"""ViT-S/8 at 96 pixels, pre-trained on about 51,200 images."""

_base_ = './mae_vit-tiny-p16_1xb512-amp-coslr-1600e_any.py'

base_lr = 3e-4
global_batch_size = 1024
model = dict(
    encoder=dict(arch='small', img_size=96, patch_size=8),
    decoder=dict(embed_dim=256, num_heads=8),
)
train_dataloader = dict(batch_size=256)
default_hooks = dict(checkpoint=dict(interval=80))
train_cfg = dict(max_epochs=800)
