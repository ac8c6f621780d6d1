import math

import pytest
import torch

from mae.models.losses import CrossEntropyLoss, MaskedMSELoss


def test_masked_mse():
    pred, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    loss = MaskedMSELoss()(pred, target)
    assert loss.shape == (2,)
    for image in range(2):
        errors = [
            (p - t) ** 2
            for p, t in zip(*(x[image].flatten().tolist() for x in (pred, target)), strict=True)
        ]
        assert math.isclose(loss[image], sum(errors) / 12, rel_tol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_masked_mse_has_the_bits_of_the_formula_written_out(dtype):
    torch.manual_seed(0)
    target, found = torch.randn(3, 7, 48), []
    values = torch.randn(3, 7, 48).to(dtype)

    def written_out(pred, target):
        return (pred.to(target.dtype) - target).square().mean(dim=-1).mean(dim=-1)

    for loss in (MaskedMSELoss(), written_out):
        pred = values.clone().requires_grad_()
        out = loss(pred, target)
        out.mean().backward()
        found.append((out, pred.grad))
    assert all(map(torch.equal, *found))


def test_masked_mse_works_in_the_targets_precision():
    target = torch.randn(2, 3, 4)
    loss = MaskedMSELoss()(torch.zeros(2, 3, 4, dtype=torch.bfloat16), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, target.square().mean((1, 2)))


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy(smoothing):
    logits, labels = torch.randn(3, 5, dtype=torch.float64), torch.tensor([4, 0, 2])
    soft = torch.full((3, 5), smoothing / 5, dtype=torch.float64)
    soft[torch.arange(3), labels] += 1 - smoothing
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    loss = CrossEntropyLoss(smoothing)
    torch.testing.assert_close(loss(logits, labels), expected)
    # Soft targets are smoothed already: they are taken as they are.
    torch.testing.assert_close(loss(logits, soft), expected)


def test_cross_entropy_is_computed_in_float32():
    assert (
        CrossEntropyLoss()(torch.randn(2, 3).bfloat16(), torch.tensor([0, 2])).dtype
        == torch.float32
    )


@pytest.mark.parametrize('smoothing', [-0.1, 2])
def test_smoothing_is_a_share(smoothing):
    with pytest.raises(ValueError, match=rf'^loss.label_smoothing must .* not {smoothing}$'):
        CrossEntropyLoss(smoothing)
