import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import RandomResizedCrop as PlainCrop
from torchvision.transforms.functional import pil_to_tensor

from mae.datasets.transforms import CenterCrop, RandomCrop, RandomResizedCrop, ResizeShort
from mae.utils.errors import ConfigError


def levels(img, image):
    return (img.int() - pil_to_tensor(image).int()).abs().max()


@pytest.mark.parametrize('size', [(224, 224), (32, 96)])
def test_random_crop_is_torchvisions(photo, size):
    img = pil_to_tensor(photo)
    ours = RandomResizedCrop(size)
    theirs = v2.RandomResizedCrop(size, (0.2, 1.0), interpolation=InterpolationMode.BICUBIC)
    for seed in range(5):
        torch.manual_seed(seed)
        found = ours({'img': img})['img']
        torch.manual_seed(seed)
        assert torch.equal(found, theirs(img))
        assert found.shape == (3, *size)
        assert found.dtype == torch.uint8


@pytest.mark.parametrize('shape', [(375, 500), (7, 1000), (1000, 7), (1, 1), (64, 64)])
@pytest.mark.parametrize('scale', [(0.2, 1.0), (0.08, 1.0), (0.9, 1.5)])
@pytest.mark.parametrize('ratio', [(3 / 4, 4 / 3), (0.5, 3.0)])
def test_boxes_are_torchvisions(shape, scale, ratio):
    ours = RandomResizedCrop(8, scale, ratio=ratio)
    theirs = v2.RandomResizedCrop(8, scale, ratio)
    image = torch.empty(3, *shape, device='meta')
    for seed in range(30):
        torch.manual_seed(seed)
        found = ours.draw(*shape)._asdict()
        torch.manual_seed(seed)
        assert found == theirs.make_params([image])


@pytest.mark.parametrize('shape', [(375, 500), (7, 1000), (1000, 7), (1, 1), (64, 64)])
def test_clamped_sides_are_those_of_one_draw(shape):
    """Area and ratio as one call of torchvision's draws them, of an image that all crops fit."""
    H, W = shape
    crop = RandomResizedCrop(8, (0.08, 1.0), oversize='clamp')
    for seed in range(200):
        torch.manual_seed(seed)
        box = crop.draw(H, W)
        torch.manual_seed(seed)
        area = torch.empty(1).uniform_(0.08, 1.0).item() * H * W
        ratio = torch.empty(1).uniform_(*torch.tensor((3 / 4, 4 / 3)).log().tolist()).exp().item()
        sides = (area / ratio) ** 0.5, (area * ratio) ** 0.5
        expected = [
            min(max(round(side), 1), limit) for side, limit in zip(sides, shape, strict=True)
        ]
        assert [box.height, box.width] == expected
        assert 0 <= box.top <= H - box.height
        assert 0 <= box.left <= W - box.width


def test_random_crop_is_pillows_within_two_levels(photo):
    img = pil_to_tensor(photo)
    for seed in range(5):
        torch.manual_seed(seed)
        found = RandomResizedCrop(64)({'img': img})['img']
        torch.manual_seed(seed)
        box = v2.RandomResizedCrop(64, (0.2, 1.0)).make_params([img])
        left, top = box['left'], box['top']
        crop = photo.crop((left, top, left + box['width'], top + box['height']))
        assert levels(found, crop.resize((64, 64), Image.Resampling.BICUBIC)) <= 2


def crop_statistics(crop, number=400):
    """Centre and extent, along both axes, of each drawn crop of an image of coordinates."""
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing='ij')
    img = torch.stack([x, y, y]).to(torch.uint8)
    drawn = torch.stack([crop(img)[:2].flatten(1).float() for _ in range(number)])
    centre, extent = drawn.mean(-1), drawn.amax(-1) - drawn.amin(-1)
    return torch.cat([centre, extent], dim=1).T.numpy()


def test_draws_are_distributed_as_torchvisions():
    ours = RandomResizedCrop(16)
    found = crop_statistics(lambda img: ours({'img': img})['img'])
    kwargs = {'interpolation': InterpolationMode.BICUBIC, 'antialias': True}
    alike = crop_statistics(PlainCrop(16, (0.2, 1.0), **kwargs))
    other = crop_statistics(PlainCrop(16, (0.08, 0.5), **kwargs))
    assert min(ks_2samp(a, b).pvalue for a, b in zip(found, alike, strict=True)) > 1e-3
    assert ks_2samp(found[2], other[2]).pvalue < 1e-9


@pytest.mark.parametrize('size', [64, 256, 500])
def test_resize_short_is_pillows_within_two_levels(photo, portrait, size):
    for image in (photo, portrait):
        width, height = image.size
        scale = size / min(width, height)
        expected = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
        assert levels(ResizeShort(size)({'img': pil_to_tensor(image)})['img'], expected) <= 2


def test_center_crop(photo):
    found = CenterCrop((200, 300))({'img': pil_to_tensor(photo)})['img']
    expected = photo.crop((170, 114, 470, 314))  # 113.5 rounds to even, as in torchvision
    assert levels(found, expected) == 0
    square = CenterCrop(8)({'img': torch.full((1, 4, 20), 7, dtype=torch.uint8)})['img']
    assert square.shape == (1, 8, 8)
    assert square[0, :, 0].tolist() == [0, 0, 7, 7, 7, 7, 0, 0]


def test_evaluation_crop_of_the_recipe(portrait):
    img = ResizeShort(256)({'img': pil_to_tensor(portrait)})
    found = CenterCrop(224)(img)['img']
    plain = v2.Compose([v2.Resize(256, InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    assert levels(found, plain(portrait)) <= 2


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_any_number_of_channels(channels):
    img = torch.from_numpy(np.random.randint(0, 256, (channels, 20, 30), dtype=np.uint8))
    for transform in (RandomResizedCrop(16), ResizeShort(16), CenterCrop(16)):
        assert transform({'img': img})['img'].shape[:2] == (channels, 16)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: RandomResizedCrop(0), 'size must be a positive'),
        (lambda: RandomResizedCrop((4, 4, 4)), 'size must be a positive'),
        (lambda: RandomResizedCrop(8, (0.5, 0.2)), 'scale must be 0 < low <= high'),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), 'ratio must be 0 < low <= high'),
        (lambda: RandomResizedCrop(8, oversize='cut'), "oversize must .*'redraw' .*'clamp'"),
        (lambda: ResizeShort(0), 'size must be a positive'),
        (lambda: CenterCrop(-1), 'size must be a positive'),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_crop_of_a_fixed_size_draws_every_place_alike():
    img = torch.arange(6 * 8, dtype=torch.uint8).view(1, 6, 8)
    windows = img[0].unfold(0, 4, 1).unfold(1, 5, 1)  # 3x4 places
    counts = torch.zeros(3, 4)
    for _ in range(2400):
        crop = RandomCrop((4, 5))({'img': img})['img']
        assert crop.shape == (1, 4, 5)
        counts += (windows == crop).flatten(2).all(-1)
    assert counts.sum() == 2400
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert chi2 < 31.3  # 11 degrees of freedom: p = .001


def test_crop_larger_than_the_image():
    img = torch.zeros(3, 6, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'^the image of 6x8 .* 7x7; '):
        RandomCrop(7)({'img': img})


def test_a_thread_of_an_image_does_not_fill_the_memory():
    thread = torch.zeros(3, 1, 65535, dtype=torch.uint8)
    with pytest.raises(ValueError, match='1x65535 would become 256 times 16776960 pixels'):
        ResizeShort(256)({'img': thread})
    assert RandomResizedCrop(32)({'img': thread})['img'].shape == (3, 32, 32)
    assert ResizeShort(8)({'img': thread[..., :999]})['img'].shape == (3, 8, 7992)
