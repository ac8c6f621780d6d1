"""ViT-S/16 fine-tuned on about 51,200 labelled images."""

_base_ = './vit-tiny-p16_ft-1xb512-amp-coslr-200e_any.py'

base_lr = 1e-3
global_batch_size = 1024
model = dict(encoder=dict(arch='small'))
train_dataloader = dict(batch_size=256)
val_dataloader = dict(batch_size=512)
test_dataloader = val_dataloader
