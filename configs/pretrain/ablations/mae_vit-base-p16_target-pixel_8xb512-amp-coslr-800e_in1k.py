"""MAE pre-training of ViT-B/16 on plain pixels: its reconstructions can be shown as they are.

    tools/dist_train.sh mae_vit-base-p16_target-pixel_8xb512-amp-coslr-800e_in1k 8

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: none known; the authors' weights for pictures are of this model, of a length that
           they do not state
Ours:      not measured yet
"""

_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/models/mae_vit-base-p16.py',
    '../../_base_/datasets/imagenet_mae.py',
    '../../_base_/schedules/adamw_coslr_pretrain.py',
]

model = dict(target=dict(norm_pix=False))
train_cfg = dict(max_epochs=800)
