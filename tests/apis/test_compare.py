import pytest
import torch

from mae.apis import init_model, load_config
from mae.apis.compare import compare_transformers, first_test_images
from mae.visualization.sheets import contact_sheet


@pytest.mark.parametrize('size', [16, 40])
def test_transformers_paints_the_same(size):
    """Also where floats, theirs, make 19 of 100 x (1 - .8)."""
    options = {
        'model.encoder.img_size': size,
        'model.masker.mask_ratio': 0.75 if size == 16 else 0.8,
    }
    model = init_model(load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', options))
    images = first_test_images('vit-mini-p4_knn-1xb360_digits-16', 3)
    images = torch.nn.functional.interpolate(images, size)
    panels, deviation = compare_transformers(model, images)
    assert deviation < 1e-5
    for panel in panels:
        original, masked, ours, theirs = (picture.astype(int) for picture in panel.pictures)
        assert abs(ours - theirs).max() <= 1  # a rounded grey level
        assert abs(original - masked).max() > 1
    side = {16: 96, 40: 120}[size] + 8
    assert contact_sheet(panels).size == (4 * side + 8, 3 * side + 8)


def test_what_describes_no_test():
    with pytest.raises(ValueError, match='describes no test'):
        first_test_images('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', 1)
    assert torch.is_tensor(first_test_images('vit-mini-p4_knn-1xb360_digits-16', 1))
