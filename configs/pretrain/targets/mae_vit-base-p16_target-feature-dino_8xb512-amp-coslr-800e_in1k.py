"""MAE pre-training of ViT-B/16 that predicts the features of a frozen DINO ViT-B/16.

    tools/dist_train.sh mae_vit-base-p16_target-feature-dino_8xb512-amp-coslr-800e_in1k 8

timm fetches the teacher's weights in the first step, into its cache. Without a network give a file:
`--cfg-options model.target.pretrained=False model.target.checkpoint=FILE`.

Hardware:  8 GPUs that hold 512 images each. Any other number: lower
           train_dataloader.batch_size to what fits, and accumulation keeps 4096 a step
Time:      not measured yet
Published: nothing of this recipe. Related: MaskFeat (Wei et al. 2022, arXiv 2112.09133) compares
           DINO's features with other targets, in another recipe
Ours:      not measured yet
"""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(
    target=dict(
        _delete_=True, type='FeatureTarget', teacher='vit_base_patch16_224.dino', pretrained=True
    )
)
