import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mae.models.heads import LinearHead

FACTS = dict(embed_dim=8, num_prefix_tokens=1)


@pytest.mark.parametrize('pool', ['avg', 'cls'])
@pytest.mark.parametrize('norm', ['layer', 'batch', 'none'])
def test_formula(pool, norm):
    head = LinearHead(3, pool=pool, norm=norm, init_std=0.5, **FACTS).double()
    head.init_weights()
    tokens = torch.randn(6, 5, 8, dtype=torch.float64)
    x = tokens[:, 0] if pool == 'cls' else tokens[:, 1:].mean(1)
    if norm == 'layer':
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    if norm == 'batch':
        x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(head(tokens), F.linear(x, head.fc.weight, head.fc.bias))


def test_batch_norm_has_nothing_to_learn():
    head = LinearHead(3, norm='batch', **FACTS)
    assert {name for name, _ in head.named_parameters()} == {'fc.weight', 'fc.bias'}
    assert isinstance(head.fc_norm, nn.BatchNorm1d)


@pytest.mark.parametrize('std', [2e-5, 0.01])
def test_start(std):
    head = LinearHead(500, init_std=std, embed_dim=400, num_prefix_tokens=0)
    head.init_weights()
    assert abs(head.fc.weight.std() / std - 1) < 0.01
    assert not head.fc.bias.any()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=0), r'^head.num_classes must be at least 1, not 0$'),
        (dict(num_classes=2, pool='max'), r"^head.pool must .*'avg' .*'cls', .*'max'$"),
        (dict(num_classes=2, norm='group'), r"^head.norm must be 'layer', .* not 'group'$"),
        (
            dict(num_classes=2, pool='cls', num_prefix_tokens=0),
            r"^head.pool='cls' needs encoder.with_cls_token=True$",
        ),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        LinearHead(**{**FACTS, **options})
