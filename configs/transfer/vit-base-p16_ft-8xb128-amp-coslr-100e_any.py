"""ViT-B/16 on any labelled set: say the sources and `model.head.num_classes`.

The fine-tuning configs here inherit it. No paper states its values: the length is ours.
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

# Table 9 of the paper, which tunes lr and epochs for each set and prints neither.
base_lr = 1e-3
model = dict(encoder=dict(drop_path_rate=0.1))
train_dataloader = dict(dataset=dict(source=dict(root='data/any')))
val_dataloader = dict(dataset=dict(source=dict(root='data/any')))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=100)
