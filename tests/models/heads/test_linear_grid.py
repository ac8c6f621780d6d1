import pytest
import torch
import torch.nn.functional as F

from mae.models.heads import LinearGridHead, LinearHead
from mae.models.losses import CrossEntropyLoss

FACTS = dict(embed_dim=8, num_prefix_tokens=1)
SCALES = (0.5, 1.0, 4.0)


def test_formula():
    head = LinearGridHead(3, lr_scales=SCALES, pool='cls', norm='batch', **FACTS).double()
    tokens = torch.randn(6, 5, 8, dtype=torch.float64)
    x = tokens[:, 0]
    x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-6).sqrt()
    logits = head(tokens)
    assert logits.shape == (6, 3, 3)
    for n, fc in enumerate(head.fcs):
        torch.testing.assert_close(logits[:, n], F.linear(x, fc.weight, fc.bias))


def test_all_start_as_a_single_head_would():
    grid, alone = LinearGridHead(3, lr_scales=SCALES, **FACTS), LinearHead(3, norm='batch', **FACTS)
    for head in (grid, alone):
        torch.manual_seed(3)
        head.init_weights()
    for fc in grid.fcs:
        assert torch.equal(fc.weight, alone.fc.weight)
        assert torch.equal(fc.bias, alone.fc.bias)
    assert len({fc.weight.data_ptr() for fc in grid.fcs}) == len(SCALES)


def test_scales_by_name():
    head = LinearGridHead(3, lr_scales=SCALES, **FACTS)
    found = {name: head.get_lr_scale(name) for name, _ in head.named_parameters()}
    assert found == {
        f'fcs.{n}.{which}': scale for n, scale in enumerate(SCALES) for which in ('weight', 'bias')
    }


def test_each_gradient_is_that_of_its_own_loss():
    head = LinearGridHead(3, lr_scales=SCALES, norm='none', init_std=0.5, **FACTS).double()
    tokens, labels = torch.randn(6, 5, 8, dtype=torch.float64), torch.arange(6) % 3
    loss = CrossEntropyLoss(label_smoothing=0.1)
    total = loss(head(tokens), labels)
    total.backward()
    alone = []
    for fc in head.fcs:
        own = loss(fc(head.features(tokens)), labels)
        (gradient,) = torch.autograd.grad(own, fc.weight)
        torch.testing.assert_close(fc.weight.grad, gradient)
        alone.append(own)
    torch.testing.assert_close(total, sum(alone))


@pytest.mark.parametrize('scales', [(), (1.0, 0.0), (1.0, -2.0), (1.0, 2.0, 1.0)])
def test_impossible_scales(scales):
    with pytest.raises(ValueError, match=r'^head.lr_scales must be different positive numbers'):
        LinearGridHead(3, lr_scales=scales, **FACTS)


def test_norm_that_all_would_train():
    with pytest.raises(ValueError, match=r"^head.norm must .*'batch' .*'none' .*lr_scales"):
        LinearGridHead(3, norm='layer', **FACTS)
