"""Segmentation: losses, taps to levels, inference at any size."""

import pytest
import torch
import torch.nn.functional as F

import mae.models  # noqa: F401  registers
from mae.models.algorithms import segmenter
from mae.registry import MODELS
from mae.utils.errors import DataError

ENCODER = {
    'type': 'DenseViTEncoder',
    'arch': {'embed_dim': 32, 'depth': 4, 'num_heads': 2},
    'img_size': 32,
    'patch_size': 8,
    'final_norm': False,
}
LINEAR = {
    'taps': [3],
    'head': {'type': 'PixelLinearHead', 'num_classes': 5, 'init_std': 0.1},
}
UPER = {
    'taps': [0, 1, 2, 3],
    'neck': {'type': 'LevelsNeck'},
    'head': {'type': 'UPerHead', 'num_classes': 5, 'width': 16},
    'auxiliary': {'type': 'FCNHead', 'num_classes': 5, 'width': 8},
}


def build(parts, **options):
    torch.manual_seed(0)
    model = MODELS.build(
        {
            'type': 'Segmenter',
            'encoder': ENCODER,
            'loss': {'type': 'PixelCrossEntropyLoss'},
            'preprocessor': {'type': 'DensePreprocessor', 'mean': [120.0] * 3, 'std': [60.0] * 3},
            **parts,
            **options,
        }
    )
    model.init_weights()
    return model.eval()


def draw(*size, seed=0):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('parts', [LINEAR, UPER])
def test_it_learns_to_tell_halves_apart(parts):
    model = build(parts).train()
    images = draw(32, 32) * 0.1
    images[:, :, :16] += 1
    maps = torch.zeros(2, 32, 32, dtype=torch.int64)
    maps[:, :16] = 3
    maps[:, :2] = 255
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(images, list(maps), mode='loss')['loss'].backward()
        optimizer.step()
    (output,) = model.eval()(images, list(maps), mode='predict')
    for pred, truth in zip(output['pred_maps'], maps, strict=True):
        right = (pred == truth)[truth != 255].float().mean()
        assert right > 0.9


def test_a_single_image_has_no_statistics():
    images, maps = draw(32, 32)[:1], [torch.zeros(32, 32, dtype=torch.int64)]
    with pytest.raises(ValueError, match=r"head\.norm='batch' needs two images"):
        build(UPER).train()(images, maps, mode='loss')
    build(UPER)(images, maps, mode='loss')
    grouped = {**UPER, 'head': {**UPER['head'], 'norm': 'groups'}}
    build(grouped).train()(images, maps, mode='loss')


def test_levels_of_the_neck():
    model = build(UPER)
    shapes = [tuple(level.shape) for level in model.levels(draw(32, 64))]
    assert shapes == [(2, 32, 16, 32), (2, 32, 8, 16), (2, 32, 4, 8), (2, 32, 2, 4)]
    assert model.neck.strides == (2, 4, 8, 16)
    assert model(draw(32, 64)).shape == (2, 5, 16, 32)


def test_predictions_have_the_size_of_the_map():
    model = build(LINEAR)
    truth = [torch.zeros(50, 70).long(), torch.zeros(20, 21).long()]
    (output,) = model(draw(37, 45), truth, mode='predict')
    assert [tuple(pred.shape) for pred in output['pred_maps']] == [(50, 70), (20, 21)]
    originals = torch.tensor([[9, 8], [37, 45]])
    (output,) = model(draw(37, 45), mode='predict', originals=originals)
    assert [tuple(pred.shape) for pred in output['pred_maps']] == [(9, 8), (37, 45)]


def test_sliding_is_the_mean_of_the_windows():
    model = build(LINEAR, window=32, stride=24)
    images = draw(40, 56)
    found = model.predict_logits(images)
    total, count = torch.zeros_like(found), torch.zeros_like(found)
    for top in (0, 8):  # 24 would reach beyond the border
        for left in (0, 24):
            part = (..., slice(top, top + 32), slice(left, left + 32))
            total[part] += model._whole(images[part])
            count[part] += 1
    assert torch.allclose(found, total / count, atol=1e-6)


def test_a_window_as_large_as_the_image_is_the_whole():
    images = draw(32, 32)
    whole = build(LINEAR).predict_logits(images)
    assert torch.equal(build(LINEAR, window=32, stride=16).predict_logits(images), whole)


def test_flipped_views_give_a_prediction_that_flips():
    model = build(LINEAR, scales=(0.75, 1.0), flip=True)
    images = draw(32, 32)
    found = model.predict_logits(images)
    assert torch.allclose(found.sum(1), torch.ones(2, 32, 32), atol=1e-5)
    assert torch.allclose(model.predict_logits(images.flip(-1)), found.flip(-1), atol=1e-5)


def test_micro_batches_add_up_where_all_pixels_divide():
    loss = MODELS.build({'type': 'PixelCrossEntropyLoss'})
    logits, maps = torch.randn(4, 5, 8, 8), torch.randint(0, 5, (4, 16, 16))
    maps[0, :10] = 255
    whole = loss(logits, maps)
    parts = (loss(logits[:2], maps[:2]) + loss(logits[2:], maps[2:])) / 2
    assert torch.allclose(whole, parts)
    valid = MODELS.build({'type': 'PixelCrossEntropyLoss', 'divide_by': 'valid'})
    share = (maps != 255).float().mean()
    assert torch.allclose(valid(logits, maps) * share, whole)


def test_the_loss_of_imagenet_s_sees_a_small_map():
    loss = MODELS.build({'type': 'PixelCrossEntropyLoss', 'scale': 2.0, 'divide_by': 'valid'})
    logits, maps = torch.randn(1, 3, 4, 4), torch.zeros(1, 32, 32).long()
    maps[:, ::4, ::4] = 2  # what the nearest pixel of 8x8 shows
    expected = torch.nn.functional.cross_entropy(
        torch.nn.functional.interpolate(logits, (8, 8), mode='bilinear'), torch.full((1, 8, 8), 2)
    )
    assert torch.allclose(loss(logits, maps), expected)


def test_labels_that_are_no_class_are_refused_before_they_reach_the_loss():
    model = build(LINEAR).train()
    maps = torch.zeros(32 * 32, dtype=torch.int16)
    maps[:3], maps[3:5] = 5, 255
    batch = {
        'inputs': torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        'maps': maps,
        'map_sizes': torch.tensor([[32, 32]]),
    }
    message = 'a batch: 3 pixels .* 5 classes nor ignore_index=255, for example 5; a dataset'
    with pytest.raises(DataError, match=message):
        model.data_preprocessor(batch, True)
    maps[:3] = 4
    assert model(**model.data_preprocessor(batch, True), mode='loss')['loss'].isfinite()


@pytest.mark.parametrize('size', [(50, 70), (9, 100), (200, 31)])
def test_a_large_map_is_made_in_strips(size, monkeypatch):
    """The likeliest classes are those of all logits at once, for a part of the memory."""
    logits = draw(13, 17)[:1].double()
    (whole,) = F.interpolate(logits, size, mode='bilinear').argmax(dim=1)
    sizes = []
    real = segmenter._resize

    def noted(rows, size):
        sizes.append(rows.shape[1] * size[0] * size[1])
        return real(rows, size)

    monkeypatch.setattr(segmenter, '_MOST_LOGITS', 4 * 3 * size[1])
    monkeypatch.setattr(segmenter, '_resize', noted)
    assert torch.equal(segmenter._labels(logits, size), whole)
    assert len(sizes) == -(-size[0] // 4)
    assert max(sizes) <= 4 * 3 * size[1]


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'taps': [3, 1]}, 'taps'),
        ({'taps': [4]}, 'taps'),
        ({'window': 32}, 'stride'),
        ({'window': 7, 'stride': 1}, r'model\.window .* 8, a patch, not 7'),
        ({'scales': []}, r'model\.scales .* not \[\]'),
        ({'scales': [1.0, 0.0]}, r'model\.scales'),
        ({'scales': [-1.0]}, r'model\.scales'),
        ({'auxiliary_weight': -0.1}, r'model\.auxiliary_weight'),
        ({'auxiliary': {'type': 'FCNHead', 'num_classes': 4, 'level': 0}}, 'num_classes is 4'),
        ({'auxiliary': {'type': 'FCNHead', 'num_classes': 5, 'level': 0, 'width': 0}}, 'width'),
        ({**UPER, 'head': {**UPER['head'], 'width': -3}}, 'head: width .* not -3'),
        ({**UPER, 'head': {**UPER['head'], 'pool_sizes': [1, 0]}}, 'pool_sizes'),
        ({'taps': [1, 3], 'neck': {'type': 'LevelsNeck'}}, 'four blocks'),
        ({'loss': {'type': 'PixelCrossEntropyLoss', 'divide_by': 'some'}}, 'divide_by'),
    ],
)
def test_what_is_wrong_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        build({**LINEAR, **options})


@pytest.mark.parametrize('size', [(8, 64), (61, 9), (8, 8)])
def test_images_of_a_single_row_of_patches(size):
    """Small and narrow images have a prediction too, also at several scales."""
    model = build(UPER, window=32, stride=24)
    maps = [torch.zeros(*size, dtype=torch.int64)] * 2
    (output,) = model(draw(*size), maps, mode='predict')
    assert [tuple(pred.shape) for pred in output['pred_maps']] == [size] * 2
    assert model.levels(draw(8, 24))[-1].shape == (2, 32, 1, 1)


def test_a_frozen_encoder_stays_as_it_is():
    model = build(UPER, trainable_blocks=0).train()
    assert not model.encoder.training
    model(draw(32, 32), [torch.zeros(32, 32, dtype=torch.int64)] * 2, mode='loss')[
        'loss'
    ].backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in model.named_parameters() if name[:8] != 'encoder.'}
    with pytest.raises(ValueError, match=r'trainable_blocks must be 0, 0\.5 or a whole'):
        build(UPER, trainable_blocks=5)


def test_one_norm_behind_the_last_block_wherever_it_stands():
    """In the head, as ImageNet-S has it, or in the encoder, as mmsegmentation has it."""
    ours = build(LINEAR)
    head = {**LINEAR['head'], 'norm': 'none'}
    theirs = build({**LINEAR, 'head': head, 'encoder': {**ENCODER, 'final_norm': True}})
    weights = {
        name.replace('head.fc_norm.', 'encoder.norm.'): value
        for name, value in ours.state_dict().items()
    }
    theirs.load_state_dict(weights)
    assert torch.allclose(ours(draw(32, 48)), theirs(draw(32, 48)), atol=1e-6)
    with pytest.raises(ValueError, match=r"head\.norm must be 'layer' or 'none', not 'batch'"):
        build({**LINEAR, 'head': {**LINEAR['head'], 'norm': 'batch'}})
