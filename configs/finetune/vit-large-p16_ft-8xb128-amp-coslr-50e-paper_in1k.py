"""Fine-tuning of ViT-L/16, 50 epochs of ImageNet-1k, with the values of paper table 9.

    tools/dist_train.sh vit-large-p16_ft-8xb128-amp-coslr-50e-paper_in1k 8 --load-from PRETRAINED

Hardware:  8 GPUs that hold 128 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 1024 a step
Time:      not measured yet
Published: no number of these values alone is known; with the
           repository's values 85.952
Ours:      not measured yet
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-large-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 1e-3
model = dict(encoder=dict(drop_path_rate=0.1))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=50)
