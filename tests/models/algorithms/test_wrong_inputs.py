"""Whatever a person hands to a model or its parts is told in one line when it cannot be right."""

import re

import numpy as np
import pytest
import torch

from mae.models.heads import LinearHead
from mae.models.layers.tokens import take
from mae.models.losses import CrossEntropyLoss, MaskedMSELoss
from mae.models.masking import BlockMasker, GridMasker, RandomMasker
from tests.forked import forked

IMAGES = torch.zeros(2, 5, 8, 12)
PIXELS = IMAGES.byte()
KEYS = torch.arange(2)
ONE = torch.zeros(2, 1, dtype=torch.int64)
BUILT = 'the encoder was built for images of B x (channels, height, width) = B x (5, 8, 12), not '


def refused(message, call, *args, **kwargs):
    with pytest.raises(ValueError, match=rf'^{re.escape(message)}[^\n]*$'):
        call(*args, **kwargs)


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        (torch.zeros(2, 3, 8, 12), f'{BUILT}2 x (3, 8, 12); set encoder.in_channels and'),
        (torch.zeros(2, 5, 8, 8), f'{BUILT}2 x (5, 8, 8); set encoder.in_channels and'),
        (torch.zeros(5, 8, 12), f'{BUILT}(5, 8, 12); one image is a batch too: images[None]'),
        (torch.zeros(8, 12), f'{BUILT}(8, 12)'),
        (torch.zeros(1, 2, 5, 8, 12), f'{BUILT}(1, 2, 5, 8, 12)'),
        (torch.zeros(2, 8, 12, 5), f'{BUILT}2 x (8, 12, 5); channels come first: '),
        ([1, 2], 'images must be a tensor (B, C, H, W), not a list'),
        (None, 'images must be a tensor (B, C, H, W), not a NoneType'),
        (np.zeros((2, 5, 8, 12), np.float32), 'images must be a tensor (B, C, H, W), not a ndarr'),
        (torch.tensor(1.0), f'{BUILT}()'),
        (torch.zeros(0, 5, 8, 12), 'there are no images: the batch is empty'),
        (PIXELS, 'images must be torch.float32 like the weights, not torch.uint8; data_preprocess'),
        (IMAGES.double(), 'images must be torch.float32 like the weights, not torch.float64'),
        (IMAGES.to('meta'), 'images must be on cpu, not on meta'),
    ],
)
def test_images(build_mae, build_classifier, images, message):
    mae, classifier = build_mae(), build_classifier()
    for model in (mae, classifier, mae.encoder):
        refused(message, model.extract_features, images)
    refused(message, classifier, images)
    refused(message, mae.encoder, images)
    refused(message, mae.reconstruct, images)


@pytest.mark.parametrize(
    ('noise', 'message'),
    [
        (torch.rand(2, 7), 'noise must be a tensor of shape (2, 6), not (2, 7)'),
        (torch.rand(3, 6), 'noise must be a tensor of shape (2, 6), not (3, 6)'),
        (torch.rand(6), 'noise must be a tensor of shape (2, 6), not (6,)'),
        (np.zeros((2, 6)), 'noise must be a tensor of shape (2, 6), not a ndarray'),
        (torch.rand(2, 6, device='meta'), 'noise must be on cpu, not on meta'),
        (torch.full((2, 6), float('nan')), 'noise is NaN in 12 of 12 places'),
        (torch.zeros(2, 6, dtype=torch.complex64), 'noise must be real numbers, not torch.complex'),
    ],
)
@pytest.mark.parametrize('training', [True, False])
def test_noise(build_mae, noise, message, training):
    refused(message, build_mae().train(training).reconstruct, IMAGES, noise)
    refused(message, RandomMasker(0.5).train(training), (2, 3), KEYS, noise)


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (torch.arange(3), 'keys must be a tensor of shape (2,), not (3,)'),
        (torch.arange(1), 'keys must be a tensor of shape (2,), not (1,)'),
        (KEYS[None], 'keys must be a tensor of shape (2,), not (1, 2)'),
        (KEYS.int(), 'keys must be torch.int64, not torch.int32'),
        (KEYS.float(), 'keys must be torch.int64, not torch.float32'),
        ([0, 1], 'keys must be a tensor of shape (2,), not a list'),
    ],
)
@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_keys(build_mae, keys, message, mode):
    refused(message, build_mae(), IMAGES, keys, mode=mode)


@pytest.mark.parametrize('masker', [RandomMasker, BlockMasker, GridMasker])
def test_keys_of_a_masker_alone(masker):
    for keys, message in (
        (KEYS[None], 'keys must be a tensor of shape (B,), not (1, 2)'),
        (KEYS.float(), 'keys must be torch.int64, not torch.float32'),
        (7, 'keys must be a tensor of shape (B,), not a int'),
    ):
        refused(message, masker(0.5), (2, 3), keys)
    for size in (6, (6,), (2, 3, 1), (2.0, 3.0), '23'):
        refused('grid_size must be two whole numbers (h, w), not ', masker(0.5), size, KEYS)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    ('ids', 'message'),
    [
        (torch.tensor([[0, 6], [1, 2]]), 'must lie in 0..5, not at 6'),
        (torch.tensor([[0, -1], [1, 2]]), 'must lie in 0..5, not at -1'),
        (torch.tensor([[0, 1]]), 'must be a tensor of shape (2, K), not (1, 2)'),
        (torch.tensor([0, 1]), 'must be a tensor of shape (2, K), not (2,)'),
        (torch.tensor([[0.0, 1], [1, 2]]), 'must be torch.int64, not torch.float32'),
    ],
)
@pytest.mark.parametrize('decoder', ['TransformerDecoder', 'CrossDecoder'])
def test_ids(build_mae, ids, message, training, decoder):
    model = build_mae(decoder=dict(type=decoder)).train(training)
    patches, good = model.encoder.patchify(IMAGES), torch.tensor([[0, 1], [1, 2]])
    latent = model.encoder.encode(patches, good)
    names = ('ids', 'ids') if training and 'lie in' in message else ('ids_keep', 'ids_hide')
    refused(f'{names[0]} {message}', model.encoder.encode, patches, ids)
    refused(f'{names[0]} {message}', model.decoder, latent, ids, good)
    refused(f'{names[1]} {message}', model.decoder, latent, good, ids)


@pytest.mark.parametrize('decoder', ['TransformerDecoder', 'CrossDecoder'])
def test_what_comes_between(build_mae, decoder):
    model = build_mae(decoder=dict(type=decoder))
    patches, ids = model.encoder.patchify(IMAGES), torch.tensor([[0, 1], [1, 2]])
    message = 'patches must be a tensor of shape (B, 6, 80), not '
    refused(f'{message}(2, 5, 80)', model.encoder.encode, patches[:, 1:])
    refused(f'{message}(2, 6, 79)', model.encoder.encode, patches[..., 1:], ids)
    refused('patches must be torch.float32', model.encoder.encode, patches.double())
    latent = model.encoder.encode(patches, ids)
    message = 'latent must be a tensor of shape (B, 3, 16), not '
    refused(f'{message}(2, 2, 16)', model.decoder, latent[:, 1:], ids, ids)
    for nothing in (None, 3, torch.tensor(1.0)):
        refused(
            'latent must be a tensor of shape (B, N, D), not ', model.decoder, nothing, ids, ids
        )
    refused(f'{message}(2, 3, 15)', model.decoder, latent[..., 1:], ids, ids)
    refused('latent must be torch.float32', model.decoder, latent.double(), ids, ids)


def test_tokens_of_as_many_images_as_ids():
    refused('ids must be a tensor of shape (3, K), not (2, 1)', take, torch.zeros(3, 6, 4), ONE)
    refused('ids must be a tensor of shape (B, K), not (2,)', take, torch.zeros(1, 6, 4), KEYS)
    assert take(torch.zeros(1, 6, 4), ONE).shape == (2, 1, 4)


@pytest.mark.parametrize(
    'size', [8.0, '8', (4,), (4, 4, 4), (4.0, 4), [True, 4], torch.tensor([4, 4])]
)
def test_sizes_of_images(build_mae, size):
    refused('img_size must be a whole number of pixels, two of', build_mae().set_img_size, size)


TARGETS = {
    'PixelTarget': {},
    'LowFrequencyTarget': {},
    'HOGTarget': dict(cell_size=2),
    'FeatureTarget': dict(
        teacher='vit_tiny_patch16_224',
        pretrained=True,  # is not fetched: what is refused comes before
        options=dict(img_size=(8, 12), patch_size=4, in_chans=5, embed_dim=12, num_heads=2),
        mean=[1.0] * 5,
        std=[1.0] * 5,
    ),
}


@pytest.mark.parametrize('target', TARGETS)
def test_targets(build_mae, target):
    model = build_mae(target=dict(type=target, **TARGETS[target]))
    patches, mask = model.encoder.patchify(IMAGES), model.masker((2, 3), KEYS)
    if target == 'PixelTarget':  # reads no more than these
        message = 'patches must be a tensor of shape (B, L, 80), not '
        for wrong in (None, [1, 2], patches[0], patches[..., 1:], IMAGES):
            refused(message, model.target, IMAGES, wrong, mask)
    else:
        for wrong in (None, [1, 2], IMAGES.numpy(), IMAGES[0], patches):
            refused('images must be a tensor of shape (B, ', model.target, wrong, patches, mask)
    if target in ('HOGTarget', 'FeatureTarget'):
        message = 'images must be a tensor of shape (B, 5, H, W), not (2, 3, 8, 12)'
        refused(message, model.target, IMAGES[:, :3], patches, mask)
    if target == 'FeatureTarget':
        message = 'the teacher vit_tiny_patch16_224 takes images of 8x12, and this grid needs 8x8'
        refused(message, model.target, IMAGES[..., :8], patches, mask)


def test_losses():
    loss, pred = MaskedMSELoss(), torch.zeros(2, 3, 8)
    message = 'pred must be a tensor of shape (2, 3, 8), not '
    refused(f'{message}(2, 1, 8); as the target is', loss, pred[:, :1], pred)
    refused(f'{message}(2, 3, 1); as the target is', loss, pred[..., :1], pred)
    refused('target must be a tensor of shape (B, M, T), not (3, 8)', loss, pred[0], pred[0])
    loss, logits, labels = CrossEntropyLoss(), torch.zeros(3, 4), torch.arange(3)
    message = 'labels must be a tensor of shape '
    refused(f'{message}(3,), not (2,)', loss, logits, labels[:2])
    refused(f'{message}(3,), not (3, 1)', loss, logits, labels[:, None])
    refused(f'{message}(3, 4), not (3, 5)', loss, logits, torch.zeros(3, 5))
    refused(f'{message}(3, 4), not (3,)', loss, logits, labels.float())
    refused('labels must be torch.int64 or soft, not torch.int32', loss, logits, labels.int())
    refused('labels must lie in 0..3, not at 4', loss, logits, labels + 2)
    refused('logits must be a tensor of shape (B, N), not (4,)', loss, logits[0], labels)
    for label in (-1, -100):  # the last is torch's word for one to leave out
        refused(f'labels must lie in 0..3, not at {label}', loss, logits, labels * 0 + label)
        members = logits[:, None].expand(3, 2, 4)
        refused(f'labels must lie in 0..3, not at {label}', loss, members, labels * 0 + label)


def test_labels(build_classifier):
    model = build_classifier()
    for mode in ('loss', 'predict'):
        refused('there are 3 labels for 2 images', model, IMAGES, torch.arange(3), mode=mode)
    refused('labels must lie in 0..2, not at 3', model, IMAGES, KEYS + 2, mode='loss')


def test_heads():
    head = LinearHead(3, embed_dim=16, num_prefix_tokens=1)
    message = 'tokens must be a tensor of shape (B, N, 16), not '
    refused(f'{message}(2, 16)', head, torch.zeros(2, 16))
    refused(f'{message}(2, 7, 15)', head, torch.zeros(2, 7, 15))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(inputs=PIXELS[0]),
            'inputs must be a tensor of shape (B, C, H, W), not (5, 8, 12); one',
        ),
        (
            dict(inputs=IMAGES),
            'inputs must be torch.uint8, 0 to 255, or torch.uint16, 0 to 65535, not torch.float32',
        ),
        (
            dict(inputs=np.zeros((2, 5, 8, 12))),
            'inputs must be a tensor of shape (B, C, H, W), not a',
        ),
        (dict(inputs=PIXELS[:, :3]), 'images have 3 channels, preprocessor.mean has 5 numbers'),
        (
            dict(labels=torch.arange(3)),
            'labels must be a tensor of shape (2,), not (3,); one for each',
        ),
        (dict(keys=torch.arange(1)), 'keys must be a tensor of shape (2,), not (1,); one for each'),
        (
            dict(ids=KEYS[None]),
            'ids must be a tensor of shape (2,), not (1, 2); one for each image',
        ),
    ],
)
def test_batches(build_classifier, changes, message):
    preprocessor = build_classifier().data_preprocessor
    batch = {'inputs': PIXELS, 'labels': KEYS, 'keys': KEYS, 'ids': KEYS}
    for training in (True, False):
        preprocessor(batch, training)
        refused(message, preprocessor, {**batch, **changes}, training)


def test_what_a_batch_lacks(build_classifier):
    preprocessor = build_classifier(preprocessor=dict(erase=dict(prob=0.5))).data_preprocessor
    batch = {'inputs': PIXELS, 'labels': KEYS, 'keys': KEYS}
    preprocessor(batch, True)
    for name in ('labels', 'keys'):
        part = {key: value for key, value in batch.items() if key != name}
        refused(f'the batch has no {name}, which training needs', preprocessor, part, True)
        preprocessor(part, False)
    message = "a batch must be a dict with images as 'inputs', not "
    refused(f"{message}['images']", preprocessor, {'images': PIXELS})
    refused(f'{message}a Tensor', preprocessor, PIXELS)
    wrong = {**batch, 'labels': KEYS + 2}  # a batch without ids: its place in the batch is told
    refused('sample 1 has label 3, but model.head.num_classes=3', preprocessor, wrong, True)


def test_options_of_maskers():
    refused('masker.stride must be at least 1, not 0', GridMasker, 0.75, stride=0)
    message = 'masker.min_patches and masker.num_blocks must be at least 1'
    for option in ('min_patches', 'num_blocks', 'min_aspect'):
        refused(message, BlockMasker, 0.5, **{option: 0})


@forked
def test_nothing_is_checked_in_a_graph(build_mae, build_classifier):
    """The checks neither break the graph of a whole model nor bind its number of images."""
    torch._dynamo.reset()
    model, classifier = build_mae().eval(), build_classifier().eval()
    ids = torch.tensor([[0, 1], [1, 2]])

    def features(images, ids):
        return model.decoder(model.encoder.encode(model.encoder.patchify(images), ids), ids, ids)

    compiled = torch.compile(features, fullgraph=True, backend='eager')
    images = torch.randn(2, 5, 8, 12)
    torch.testing.assert_close(compiled(images, ids), features(images, ids))
    batch = {0: torch.export.Dim('batch')}
    program = torch.export.export(classifier, (images,), dynamic_shapes=(batch,))
    more = torch.randn(5, 5, 8, 12)
    torch.testing.assert_close(program.module()(more), classifier(more))
