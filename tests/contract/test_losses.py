"""A loss: of (pred, target) one number an image; of (logits, labels) one number.

Of label maps, of (logits, maps) one number. A target is as wide as the prediction, or for a loss of
classes the number of one for each patch.
"""

import inspect

import pytest
import torch


@pytest.fixture
def case(loss_type):
    """The loss, a bad and a good guess, the truth, and the shape of the result."""
    names = [*inspect.signature(loss_type.forward).parameters][1:]
    if names == ['logits', 'labels']:
        labels = torch.tensor([0, 2, 1])
        good = torch.nn.functional.one_hot(labels, 4) * 9.0
        return loss_type(), torch.randn(3, 4), good, labels, ()
    if names == ['logits', 'maps']:
        maps = torch.arange(18).view(2, 3, 3) % 4
        good = torch.nn.functional.one_hot(maps, 4).permute(0, 3, 1, 2) * 9.0
        return loss_type(), torch.randn(2, 4, 3, 3), good, maps, ()
    assert names == ['pred', 'target']
    if 'CrossEntropy' in loss_type.__name__:
        target = torch.arange(15).view(3, 5) % 12
        good = torch.nn.functional.one_hot(target, 12) * 9.0
        return loss_type(), torch.randn(3, 5, 12), good, target, (3,)
    target = torch.randn(3, 5, 12)
    return loss_type(), torch.randn(3, 5, 12), target + 0.01, target, (3,)


def test_number_and_direction(case):
    loss, bad, good, truth, shape = case
    bad.requires_grad_()
    value = loss(bad, truth)
    assert value.shape == shape
    assert (value >= 0).all()
    assert (loss(good, truth) < value).all()
    (grad,) = torch.autograd.grad(value.sum(), bad)
    assert (loss(bad - 0.1 * grad, truth) <= value).all()


def test_half_precision_guesses_are_compared_in_float32(case):
    loss, bad, _, truth, _ = case
    value = loss(bad.bfloat16(), truth)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(bad.bfloat16().float(), truth))
