"""ImageNet-S-300, linear layer on ViT-B/16 from a classifier, with mmsegmentation's values."""

_base_ = './vit-base-p16_seg-linear-8xb32-amp-coslr-100e-mmseg_in-s919.py'

source = dict(root='data/imagenet-s300')
base_lr = 1e-4
model = dict(encoder=dict(final_norm=False), head=dict(num_classes=301, norm='layer'))
train_dataloader = dict(dataset=dict(source=source))
val_dataloader = dict(dataset=dict(source=source))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.4))
