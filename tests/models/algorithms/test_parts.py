"""The seam of targets and decoders: who is handed what, and what is refused in one line."""

import pytest
import torch
from torch import nn

from mae.models.algorithms import MAE
from mae.models.algorithms.parts import build_part
from mae.models.decoders import TransformerDecoder
from mae.models.layers.tokens import take
from mae.registry import MODELS
from tests.models.algorithms.conftest import ENCODER, PREPROCESSOR


class Wide(nn.Module):
    """Three means of the image and the number of the patch: sees more than hidden patches."""

    target_dim = 4

    def forward(self, images, patches, mask):
        means = images[:, :3].mean((2, 3))  # B,3
        ids = mask.ids_predict[..., None]  # B,M,1
        return torch.cat([means[:, None].expand(-1, ids.shape[1], -1), ids], dim=-1)


class Narrow(Wide):
    def forward(self, images, patches, mask):
        return super().forward(images, patches, mask)[..., :1]  # a loss would broadcast it


class Whole(Wide):
    def forward(self, images, patches, mask):
        return torch.zeros(*patches.shape[:2], 4)  # of all patches, not of the hidden


class Old(nn.Module):
    target_dim = 80

    def forward(self, patches):
        return patches


class Silent(nn.Module):
    def forward(self, images, patches, mask):
        return take(patches, mask.ids_predict)


class Text(Silent):
    target_dim = '80'


class Tokens(nn.Module):
    """Eight grey levels of the mean of each patch, as a tokeniser numbers them."""

    target_dim = 8

    def forward(self, images, patches, mask):
        return (take(patches, mask.ids_predict).mean(-1) * 4 + 4).long().clamp(0, 7)


class Asking(Wide):
    """Takes keywords of its own and what it names of the encoder's; hands the rest to its base."""

    def __init__(self, factor=2, *, grid_size, **kwargs):
        super().__init__(**kwargs)
        self.given = factor, grid_size, self.patch_dim, self.sizes


class Base(nn.Module):
    def __init__(self, *, patch_dim, img_size, patch_size, in_channels, image_mean, image_std):
        super().__init__()
        self.patch_dim = patch_dim
        self.sizes = img_size, patch_size, in_channels, image_mean.shape, float(image_std[0])


Asking = type('Asking', (Asking, Base), {})


def build(target, loss='MaskedMSELoss', decoder='TransformerDecoder', **options):
    MODELS.register_module(module=target, force=True)
    try:
        return MAE(
            encoder=ENCODER,
            decoder=dict(type=decoder, embed_dim=8, depth=1, num_heads=2),
            masker=dict(type='RandomMasker', mask_ratio=0.5),
            target=dict(type=target.__name__, **options),
            loss=dict(type=loss),
            preprocessor=PREPROCESSOR,
        )
    finally:
        MODELS.module_dict.pop(target.__name__)


IMAGES, KEYS = torch.randn(2, 5, 8, 12), torch.arange(2)


@pytest.mark.parametrize('decoder', ['TransformerDecoder', 'CrossDecoder'])
def test_a_target_of_any_width_sees_the_whole_image(decoder):
    model = build(Wide, decoder=decoder)
    assert model.decoder.pred.out_features == 4
    model.init_weights()
    out = model.reconstruct(IMAGES)
    assert out['pred'].shape == out['target'].shape == (2, 3, 4)
    torch.testing.assert_close(out['target'][:, 0, :3], IMAGES[:, :3].mean((2, 3)))
    assert torch.equal(out['target'][..., 3].long(), out['ids_hide'])
    model(IMAGES, KEYS)['loss'].backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    loss = model(IMAGES, KEYS, mode='predict')[0]['reconstruction_loss']
    assert loss.shape == (2,)


def test_names_in_checkpoints_do_not_depend_on_the_target(build_mae):
    names = set(build_mae(decoder=dict(depth=1)).state_dict())
    assert set(build(Wide).state_dict()) == names


def test_a_tokeniser_with_a_loss_of_classes():
    model = build(Tokens, 'MaskedCrossEntropyLoss')
    model.init_weights()
    loss, pred, target, _ = model.reconstruct_patches(IMAGES, KEYS)
    assert pred.shape == (2, 3, 8)
    assert target.shape == (2, 3)
    expected = -pred.log_softmax(-1).gather(-1, target[..., None])[..., 0].mean(-1)
    torch.testing.assert_close(loss, expected)
    with pytest.raises(ValueError, match=r'^target must .*; MaskedMSELoss compares [^\n]*$'):
        build(Tokens)(IMAGES, KEYS)
    with pytest.raises(ValueError, match=r'^MaskedCrossEntropyLoss needs a target that[^\n]*$'):
        build(Wide, 'MaskedCrossEntropyLoss')(IMAGES, KEYS)


def test_a_constructor_gets_what_it_names():
    model = build(Asking, factor=3)
    assert model.target.given == (3, (2, 3), 80, ((8, 12), 4, 5, (5, 1, 1), 64.0))


def test_a_config_may_state_a_fact_itself():
    MODELS.register_module(module=Asking, force=True)
    facts = dict(patch_dim=1, img_size=2, patch_size=3, in_channels=4, grid_size=5)
    facts |= dict(image_mean=torch.zeros(1), image_std=torch.ones(1), unknown=6)
    try:
        part = build_part(dict(type='Asking', patch_size=7), facts)
    finally:
        MODELS.module_dict.pop('Asking')
    assert part.sizes[:3] == (2, 7, 4)


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (Old, r'^Old.forward takes \(patches\), .* \(images, patches, m'),
        (Silent, r'^Silent.target_dim must be [^\n]*not None$'),
        (Text, r"^Text.target_dim must be [^\n]*not '80'$"),
    ],
)
def test_no_target_is_told_when_building(target, message):
    with pytest.raises(ValueError, match=message) as error:
        build(target)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('target', 'shape'), [(Narrow, r'\(2, 3, 1\)'), (Whole, r'\(2, 6, 4\)')])
def test_a_target_that_does_not_keep_its_word(target, shape):
    name = target.__name__
    message = rf'^{name} gives [^\n]* {shape}, [^\n]*dim 4 [^\n]*\(2, 3, 4\)[^\n]*$'
    with pytest.raises(ValueError, match=message):
        build(target)(IMAGES, KEYS)


@pytest.mark.parametrize('given', [None, 3, [1, 2]])
def test_a_target_that_gives_no_tensor(given):
    target = type('Nothing', (Wide,), {'forward': lambda *_: given})
    with pytest.raises(ValueError, match=r'^Nothing must give a tensor[^\n]*$'):
        build(target)(IMAGES, KEYS)


class Without(nn.Module):
    def __init__(self, mask_ratio):
        super().__init__()

    def forward(self, grid_size, keys, noise=None):
        return torch.arange(6)


class Ids(Without):
    def num_keep(self, num_patches):
        return num_patches // 2


def test_no_masker(build_mae):
    for kind, message in (
        (Without, r'^Without is no masker: it needs num_keep\(num_patches\), [^\n]*$'),
        (Ids, r'^Ids must give a Mask, not a Tensor$'),
    ):
        MODELS.register_module(module=kind)
        try:
            with pytest.raises(ValueError, match=message):
                build_mae(masker=dict(type=kind.__name__))(IMAGES, KEYS)
        finally:
            MODELS.module_dict.pop(kind.__name__)


def test_a_decoder_that_predicts_pixels_whatever_the_target():
    class PixelDecoder(TransformerDecoder):
        def __init__(self, *args, patch_dim, encoder_dim, grid_size, num_prefix_tokens, **options):
            facts = dict(encoder_dim=encoder_dim, grid_size=grid_size)
            facts |= dict(num_prefix_tokens=num_prefix_tokens, target_dim=patch_dim)
            super().__init__(*args, **{**options, **facts})

    MODELS.register_module(module=PixelDecoder)
    try:
        model = build(Wide, decoder='PixelDecoder')
    finally:
        MODELS.module_dict.pop('PixelDecoder')
    message = r'^PixelDecoder predicts 80 values [^\n]*Wide.target_dim is 4[^\n]*$'
    with pytest.raises(ValueError, match=message):
        model(IMAGES, KEYS)


def test_a_target_that_cannot_follow_to_a_smaller_size():
    class Fixed(Wide):
        def set_img_size(self, img_size):
            if img_size != (8, 12):
                raise ValueError('Fixed takes images of 8x12 only')

    model = build(Fixed)
    with pytest.raises(ValueError, match=r'^Fixed takes images of 8x12 only$'):
        model.set_img_size((4, 8))
    model.set_img_size(None)
    assert model.encoder.grid_size == (2, 3)
