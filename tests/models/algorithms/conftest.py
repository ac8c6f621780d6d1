import pytest

from mae.models import algorithms

ENCODER = dict(
    type='ViTEncoder',
    arch=dict(embed_dim=16, depth=4, num_heads=2),
    img_size=(8, 12),
    patch_size=4,
    in_channels=5,
)
PREPROCESSOR = dict(type='ImagePreprocessor', mean=[128.0] * 5, std=[64.0] * 5)


@pytest.fixture
def build_mae():
    def build(encoder=None, decoder=None, masker=None, norm_pix=True, target=None):
        return algorithms.MAE(
            encoder={**ENCODER, **(encoder or {})},
            decoder={
                **dict(type='TransformerDecoder', embed_dim=8, depth=2, num_heads=2),
                **(decoder or {}),
            },
            masker={**dict(type='RandomMasker', mask_ratio=0.5), **(masker or {})},
            target=target or dict(type='PixelTarget', norm_pix=norm_pix),
            loss=dict(type='MaskedMSELoss'),
            preprocessor=PREPROCESSOR,
        )

    return build


@pytest.fixture
def build_classifier():
    def build(trainable_blocks=None, encoder=None, head=None, preprocessor=None):
        return algorithms.Classifier(
            encoder={**ENCODER, **(encoder or {})},
            head={**dict(type='LinearHead', num_classes=3), **(head or {})},
            loss=dict(type='CrossEntropyLoss'),
            preprocessor={**PREPROCESSOR, **(preprocessor or {})},
            trainable_blocks=trainable_blocks,
        )

    return build
