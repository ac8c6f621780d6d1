"""What twenty steps, gradients and masks tell."""

import pytest
import torch

from mae.doctor.learning import Steps, judge_gradients, judge_loss, judge_masks, judge_steps
from mae.models.masking.grid import GridMasker
from mae.models.masking.random import RandomMasker
from mae.utils.hashing import sample_keys

FALLS = Steps([2.0, 1.9, 1.7, 1.5], 1e-4)
DIVERGES = Steps([2.0, 5.0, 4.0, 3.0], 1e-3)
STAYS = Steps([2.0, 2.0, 2.0, 2.0], 1e-3)
BREAKS = Steps([2.0, 1.0, float('nan'), float('nan')], 1e-3)
SLOWLY = Steps([2.303, 2.302, 2.300, 2.297, 2.294, 2.290, 2.286], 1e-4)  # for want of time
COMES_BACK = Steps([2.0, 9.0, 1.0, 0.5, 0.5], 1e-3)


def names(findings):
    return [finding.name for finding in findings]


@pytest.mark.parametrize(
    ('steps', 'falls'),
    [
        (FALLS, True),
        (SLOWLY, True),
        (DIVERGES, False),
        (STAYS, False),
        (BREAKS, False),
        (COMES_BACK, False),
    ],
)
def test_whether_a_loss_falls(steps, falls):
    assert steps.falls is falls


def test_a_rate_is_too_high_if_a_tenth_of_it_learns():
    assert names(judge_steps(DIVERGES, FALLS)) == ['rate_too_high']
    assert names(judge_steps(BREAKS, FALLS)) == ['rate_too_high']
    assert names(judge_steps(STAYS, STAYS)) == ['does_not_learn']


def test_losses_and_gradients():
    one = torch.ones(2)
    assert judge_loss(1.0) == []
    assert names(judge_loss(float('inf'))) == ['loss_not_finite']
    assert judge_gradients([('a', one), ('b', one)]) == []
    assert names(judge_gradients([('a', one), ('b', one / 0)])) == ['gradients_not_finite']
    (found,) = judge_gradients([('a', one), ('b', None)])
    assert (found.name, found.what) == (
        'without_gradient',
        '1 of 2 parameters get no gradient, such as b',
    )
    assert judge_gradients([('a', one), ('b', None)], needs_few=True) == []


@pytest.mark.parametrize('grid', [(2, 3), (4, 4), (14, 14)])
def test_random_masks_differ(grid):
    masker = RandomMasker()
    masks = [masker(grid, sample_keys(0, e, torch.arange(64))).dense() for e in (0, 1)]
    is_small = grid == (2, 3)  # 1 of 6 patches is seen: 6 masks for 64 images
    assert names(judge_masks(*masks, masker)) == ['masks_equal'] * is_small


def test_masks_that_ignore_image_or_epoch():
    masker = RandomMasker()
    keys = sample_keys(0, 0, torch.arange(64))
    different = masker((4, 4), keys).dense()
    alike = masker((4, 4), keys[:1].expand(64)).dense()
    assert names(judge_masks(alike, alike, masker)) == ['masks_equal']
    assert names(judge_masks(different, different, masker)) == ['masks_equal']
    grid = GridMasker()
    assert names(judge_masks(alike, alike, grid)) == ['masks_fixed']
