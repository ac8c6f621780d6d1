"""MAE with ViT-B/16 and the paper's default decoder (section 4).

ViT-L: `model.encoder.arch='large'`. ViT-H/14: `arch='huge'` and `patch_size=14`.
"""

model = dict(
    type='MAE',
    preprocessor=dict(
        type='ImagePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    encoder=dict(type='ViTEncoder', arch='base', img_size=224, patch_size=16),
    masker=dict(type='RandomMasker', mask_ratio=0.75),
    decoder=dict(type='TransformerDecoder', embed_dim=512, depth=8, num_heads=16),
    target=dict(type='PixelTarget', norm_pix=True),
    loss=dict(type='MaskedMSELoss'),
)
