"""ImageNet-S-50, linear layer on ViT-B/16 from pre-training, with mmsegmentation's values."""

_base_ = './vit-base-p16_seg-linear-8xb32-amp-coslr-100e-mmseg_in-s919.py'

source = dict(root='data/imagenet-s50')
model = dict(head=dict(num_classes=51))
train_dataloader = dict(dataset=dict(source=source))
val_dataloader = dict(dataset=dict(source=source))
test_dataloader = val_dataloader
