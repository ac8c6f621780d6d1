"""Supervised ViT-L/16 from scratch, 200 epochs of ImageNet-1k: what pre-training is compared with.

    tools/dist_train.sh vit-large-p16_scratch-8xb512-amp-coslr-200e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: 82.6 (paper table 11, with the average of the weights)
Ours:      not measured yet
Network:   that of fine-tuning; table 11 lists no random erasing, so there is none
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-large-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_scratch.py',
]

model = dict(encoder=dict(drop_path_rate=0.2), preprocessor=dict(erase=None))
train_dataloader = dict(batch_size=512)
train_cfg = dict(max_epochs=200)
