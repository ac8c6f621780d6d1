"""Fine-tuning of ViT-H/14 at 448 pixels, 50 epochs of ImageNet-1k.

    tools/dist_train.sh vit-huge-p14_ft-32xb32-amp-coslr-50e_in1k-448 8 --load-from PRETRAINED

Hardware:  32 GPUs that hold 32 images each (1025 tokens an image). Any other number,
           8 as above: accumulation keeps 1024 a step
Time:      not measured yet
Published: 87.8 (paper); 87.3 from its own 1600-epoch weights
           (OpenMMLab zoo, mmselfsup 1.x)
Ours:      not measured yet
Values:    those of the authors' repository at 224; the position embedding of the
           224 weights is resized when they are loaded, as the authors do it
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-huge-p14_cls.py',
    '../_base_/datasets/imagenet_ft-448.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 1e-3
model = dict(encoder=dict(img_size=448, drop_path_rate=0.3))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=50)
