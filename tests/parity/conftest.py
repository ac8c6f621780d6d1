"""What every comparison with another implementation needs."""

import pytest
import torch

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def deviation(ours, theirs):
    """Largest difference, relative to the largest value of the tensor."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    scale = theirs.abs().max()
    assert scale > 0
    return ((ours - theirs).abs().max() / scale).item()


@pytest.fixture
def same(request):
    """Call with two dicts of tensors: each must agree; shows the largest deviation with `-rP`."""

    def check(ours, theirs):
        assert set(ours) == set(theirs)
        found = {name: deviation(ours[name].detach(), theirs[name].detach()) for name in ours}
        worst = max(found, key=found.get)
        dtype = ours[worst].dtype
        print(f'{request.node.name}: {len(found)} tensors, largest {found[worst]:.2e} ({worst})')
        wrong = {name: value for name, value in found.items() if value > TOLERANCE[dtype]}
        assert not wrong

    return check


@pytest.fixture
def perturb():
    """Move all weights away from the zeros and ones they start with."""

    @torch.no_grad()
    def move(model, std, vectors_only=False):
        for param in model.parameters():
            if param.ndim > 1 and vectors_only:
                continue
            param.add_(torch.randn_like(param), alpha=std)

    return move
