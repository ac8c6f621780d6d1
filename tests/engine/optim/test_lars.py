"""LARS against the authors' rule, written down once more without a class."""

import math

import pytest
import torch
from mmpretrain.engine import optimizers as mmpretrain

from mae.engine.optim import LARS

SHAPES = [(4, 7), (7,), (3, 5), (5,)]
STEPS = 20


def rates():
    """A warm-up of 5 steps, then half a cosine."""
    for t in range(STEPS):
        yield 6.4 * (t / 5 if t < 5 else (1 + math.cos(math.pi * (t - 5) / (STEPS - 5))) / 2)


def gradients():
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield [torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES]


def start():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES]
    return [*weights[:2], torch.zeros(SHAPES[2], dtype=torch.float64), weights[3]]


def reference(weight_decay, momentum=0.9, eta=0.001):
    """You et al. 2017 in the form of the authors' probe: the rate outside the momentum."""
    weights, buffers = start(), [0.0] * len(SHAPES)
    for lr, grads in zip(rates(), gradients(), strict=True):
        for n, grad in enumerate(grads):
            w, update = weights[n], grad
            if w.ndim > 1:
                update = grad + weight_decay * w
                w_norm, u_norm = w.square().sum().sqrt(), update.square().sum().sqrt()
                if w_norm > 0 and u_norm > 0:
                    update = update * (eta * w_norm / u_norm)
            buffers[n] = momentum * buffers[n] + update
            weights[n] = w - lr * buffers[n]
    return weights


def trained(kind, weight_decay):
    params = [torch.nn.Parameter(weight) for weight in start()]
    matrices, vectors = [[p for p in params if (p.ndim > 1) == m] for m in (True, False)]
    groups = [
        dict(params=matrices, weight_decay=weight_decay),
        dict(params=vectors, weight_decay=0.0, lars_exclude=True),
    ]
    optimizer = kind(groups, lr=1.0, momentum=0.9, eta=0.001)
    for lr, grads in zip(rates(), gradients(), strict=True):
        for group in optimizer.param_groups:
            group['lr'] = lr
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
    return [param.detach() for param in params]


@pytest.mark.parametrize('weight_decay', [0.0, 0.1])
def test_equals_the_reference_while_the_rate_changes(weight_decay):
    for found, expected in zip(trained(LARS, weight_decay), reference(weight_decay), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_mmpretrain_differs():
    """Why there is one of our own; once this fails, mmpretrain's will do."""
    moved = [a - b for a, b in zip(reference(0.0), start(), strict=True)]
    theirs = [a - b for a, b in zip(trained(mmpretrain.LARS, 0.0), start(), strict=True)]
    assert (theirs[0] - moved[0]).norm() > 0.1 * moved[0].norm()


def test_state_round_trip():
    param = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = LARS([param], lr=0.5)
    param.grad = torch.full_like(param, 2.0)
    optimizer.step()
    other = LARS([param], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]['lr'] == 0.5
    assert torch.equal(
        other.state[param]['momentum_buffer'], optimizer.state[param]['momentum_buffer']
    )


def test_parameters_without_gradient_stay():
    param = torch.nn.Parameter(torch.ones(2, 3))
    LARS([param], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(param, torch.ones(2, 3))


@pytest.mark.parametrize('name', ['lr', 'momentum', 'weight_decay', 'eta'])
def test_negative_numbers(name):
    with pytest.raises(ValueError, match=rf'^LARS: {name} must not be negative, got -1$'):
        LARS([torch.nn.Parameter(torch.ones(1))], **{'lr': 0.1, name: -1})


def test_step_that_is_skipped_on_the_device_changes_nothing():
    weights = [torch.nn.Parameter(weight) for weight in start()]
    optimizer = LARS(weights, 0.1, weight_decay=0.1)
    kept = None
    for number, grads in enumerate(gradients()):
        is_bad = number in (0, 3)
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = grad * torch.nan if is_bad else grad
        optimizer.found_inf = torch.tensor(float(is_bad))
        if not is_bad:
            optimizer.step()
            continue
        kept = [weight.clone() for weight in weights]
        optimizer.step()
        assert all(map(torch.equal, weights, kept))
        assert all(s['momentum_buffer'].isfinite().all() for s in optimizer.state.values())
