"""Features of a frozen DINO ViT-B/16, which timm fetches in the first step."""

_base_ = '../mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(
    target=dict(
        _delete_=True, type='FeatureTarget', teacher='vit_base_patch16_224.dino', pretrained=True
    )
)
train_cfg = dict(max_epochs=800)
