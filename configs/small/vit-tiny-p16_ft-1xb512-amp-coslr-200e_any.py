"""ViT-Ti/16 fine-tuned on about 5,000 labelled images; the fine-tuning configs here inherit it.

Say `model.head.num_classes`.
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 1.4e-3
global_batch_size = 512
model = dict(encoder=dict(arch='tiny', drop_path_rate=0.1))
train_dataloader = dict(batch_size=512, dataset=dict(source=dict(root='data/any')))
val_dataloader = dict(batch_size=1024, dataset=dict(source=dict(root='data/any')))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
default_hooks = dict(checkpoint=dict(interval=20))
train_cfg = dict(max_epochs=200, val_interval=20)
