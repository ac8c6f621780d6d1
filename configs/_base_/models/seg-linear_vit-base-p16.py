"""A linear layer on every patch of ViT-B/16: the model of ImageNet-S (Gao et al. 2022, "LUSS").

The loss sees 28x28 pixels: logits enlarged twice, the map shrunk to them.
"""

model = dict(
    type='Segmenter',
    preprocessor=dict(
        type='DensePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    encoder=dict(
        type='DenseViTEncoder',
        arch='base',
        img_size=224,
        patch_size=16,
        trainable_pos=True,
        pos_antialias=False,
        final_norm=False,
        drop_path_rate=0.1,
    ),
    taps=[11],
    head=dict(type='PixelLinearHead', num_classes=920, init_std=2e-5),
    loss=dict(type='PixelCrossEntropyLoss', ignore_index=1000, divide_by='valid', scale=2.0),
)
