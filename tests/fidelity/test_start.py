"""The losses with which pre-training starts, as docs/en/user_guides/reproduce.md states them."""

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms.functional import pil_to_tensor

from mae.apis import init_model, load_config
from mae.datasets.transforms import RandomResizedCrop
from mae.models.losses import MaskedMSELoss
from mae.models.masking import Mask
from mae.models.targets import PixelTarget


@pytest.fixture(scope='module')
def photos():
    """Crops as in pre-training, uint8 (4, 3, 224, 224)."""
    torch.manual_seed(0)
    crop = RandomResizedCrop(224)
    images = [pil_to_tensor(Image.fromarray(photo)) for photo in load_sample_images().images]
    return torch.stack([crop({'img': img})['img'] for img in images for _ in range(2)])


def test_fresh_weights_start_above_one(photos):
    """1 + 2 x 512 / (512 + 768): the mean's loss and the variance of Xavier's last projection."""
    torch.manual_seed(0)
    shallow = {  # the start does not depend on the depth
        'model.encoder.arch': dict(embed_dim=768, depth=1, num_heads=12),
        'model.decoder.depth': 1,
    }
    model = init_model(load_config('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', shallow))
    inputs = model.data_preprocessor({'inputs': photos}, False)['inputs']
    with torch.inference_mode():
        loss = model.reconstruct(inputs)['loss'].item()
    print(f'loss {loss:.3f}')
    assert loss == pytest.approx(1 + 2 * 512 / (512 + 768), abs=0.1)


def test_predicting_the_mean_of_each_patch():
    """(P - 1) / P: the variance is the unbiased one; a patch of one colour counts as 0."""
    patches = torch.randn(4, 20, 768)
    images, all_of_them = torch.empty(4, 3, 64, 80), torch.arange(20).expand(4, -1)
    mask = Mask(ids_keep=all_of_them[:, :0], ids_hide=all_of_them)
    pixels = PixelTarget(patch_size=16, in_channels=3)
    target = pixels(images, patches, mask)
    loss = MaskedMSELoss()(torch.zeros_like(target), target)
    torch.testing.assert_close(loss, torch.full((4,), 767 / 768), rtol=0, atol=1e-5)
    patches[:, :5] = 0.25
    target = pixels(images, patches, mask)
    loss = MaskedMSELoss()(torch.zeros_like(target), target)
    torch.testing.assert_close(loss, torch.full((4,), 0.75 * 767 / 768), rtol=0, atol=1e-5)
