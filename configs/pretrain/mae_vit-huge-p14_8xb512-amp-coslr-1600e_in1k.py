"""MAE pre-training of ViT-H/14, 1600 epochs of ImageNet-1k.

    tools/dist_train.sh mae_vit-huge-p14_8xb512-amp-coslr-1600e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: fine-tune 86.928, 87.8 at 448 (paper), linear 77.2 (authors' repository);
           86.9, 87.3 at 448 (OpenMMLab zoo, mmselfsup 1.x)
Ours:      not measured yet
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-huge-p14.py',
    '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

train_cfg = dict(max_epochs=1600)
