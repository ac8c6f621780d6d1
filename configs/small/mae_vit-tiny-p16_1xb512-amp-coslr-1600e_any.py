"""ViT-Ti/16 pre-trained on about 5,000 images; the pre-training configs here inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 4.2e-4
global_batch_size = 512
model = dict(
    encoder=dict(arch='tiny'),
    decoder=dict(embed_dim=192, depth=4, num_heads=6),
)
train_dataloader = dict(dataset=dict(source=dict(root='data/any', labelled=False)))
default_hooks = dict(checkpoint=dict(interval=160))
train_cfg = dict(max_epochs=1600)
