import pytest
import torch

from mae.apis import init_model, load_config
from mae.apis.compare import compare_transformers, first_test_images
from mae.visualization.panels import contact_sheet


def test_transformers_paints_the_same():
    model = init_model(load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16'))
    images = first_test_images('vit-mini-p4_knn-1xb360_digits-16', 3)
    panels, deviation = compare_transformers(model, images)
    assert deviation < 1e-5
    for panel in panels:
        original, masked, ours, theirs = (picture.astype(int) for picture in panel.pictures)
        assert abs(ours - theirs).max() <= 1  # a rounded grey level
        assert abs(original - masked).max() > 1
    assert contact_sheet(panels, min_side=16, gap=2).size == (4 * 18 + 2, 3 * 18 + 2)


def test_what_describes_no_test():
    with pytest.raises(ValueError, match='describes no test'):
        first_test_images('mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', 1)
    assert torch.is_tensor(first_test_images('vit-mini-p4_knn-1xb360_digits-16', 1))
