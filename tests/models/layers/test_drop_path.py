"""Stochastic depth: what is drawn, and that both forms of it compute the same."""

import pytest
import torch
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mae.models.encoders import DenseViTEncoder, ViTEncoder
from mae.models.layers.block import Block, DropPath, draw_paths, drop_path_rates
from tests.forked import forked

SMALL = dict(arch=dict(embed_dim=16, depth=4, num_heads=2), img_size=8, patch_size=4)


class Seen(TorchDispatchMode):
    """Names and output shapes of all operators."""

    def __init__(self):
        super().__init__()
        self.names, self.shapes = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        self.shapes.append(tuple(out.shape) if isinstance(out, torch.Tensor) else None)
        return out


def test_a_rate_outside_is_named_as_it_was_given():
    for rate in (1.0, 1.5, -0.1):
        with pytest.raises(ValueError, match=rf'\[0, 1\), not {rate:g}$'):
            drop_path_rates(rate, 12)


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
def test_drop_path_keeps_the_mean(rate):
    count = 20000
    block, x = Block(4, 1, drop_path_rate=rate).train(), torch.ones(count, 2, 4)
    (scales,) = draw_paths([block], x)
    assert scales.shape == (2, count)
    assert not torch.equal(*scales)
    out = block.drop_path(torch.zeros_like(x), x, torch.clone, scales[0])
    assert (out == out[:, :1, :1]).all()  # whole branches
    kept = out[:, 0, 0] > 0
    assert torch.allclose(out[kept], torch.tensor(1 / (1 - rate)))
    # Five deviations of a binomial share: one run in two million would fail by chance.
    tolerance = 5 * (rate * (1 - rate) / count) ** 0.5
    assert abs(kept.float().mean() - (1 - rate)) < tolerance


def test_drop_path_rests():
    """In evaluation, and at rate 0, where nothing is drawn either."""
    x = torch.randn(4, 2, 3)
    scale = torch.tensor([0.0, 2.0, 2.0, 0.0])
    assert torch.equal(DropPath(0.5).eval()(x, x, torch.sin, scale), x + x.sin())
    assert torch.equal(DropPath(0.0).train()(x, x, torch.sin, torch.ones(4)), x + x.sin())
    resting = [Block(8, 2).train(), Block(8, 2, drop_path_rate=0.5).eval()]
    state = torch.get_rng_state()
    assert draw_paths(resting, x) == [None, None]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_dropped_are_not_computed_on_a_cpu():
    seen = []

    def branch(x):
        seen.append(len(x))
        return x

    block, x = Block(4, 1, drop_path_rate=0.5).train(), torch.randn(1000, 2, 4)
    (scales,) = draw_paths([block], x)
    out = block.drop_path(x, x, branch, scales[0])
    assert seen == [int((out != x).flatten(1).any(1).sum())]


def test_draws_are_those_of_one_block_after_another():
    """As before all of a step were drawn at once, so that no seed gives another run."""
    encoder = ViTEncoder(**SMALL, drop_path_rate=0.6).train()
    encoder.blocks[2].eval()  # frozen
    torch.manual_seed(5)
    found = draw_paths(encoder.blocks, torch.zeros(7, 5, 16))
    after = torch.rand(1)
    torch.manual_seed(5)
    for number in (1, 3):
        keep = 1 - encoder.blocks[number].drop_path.rate
        for scale in found[number]:
            assert torch.equal(scale != 0, torch.rand(7) < keep)
            assert set(scale.tolist()) <= {0.0, float(torch.tensor(1 / keep))}
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize('kind', [ViTEncoder, DenseViTEncoder])
@pytest.mark.parametrize('recompute', ['nothing', 'blocks'])
@pytest.mark.parametrize(('amp', 'bf16_residual'), [(False, False), (True, False), (True, True)])
def test_both_forms_compute_the_same(monkeypatch, kind, recompute, amp, bf16_residual):
    """What a GPU does and what a CPU does, in values and gradients, with the same draws."""
    torch.manual_seed(0)
    encoder = kind(
        **SMALL, drop_path_rate=0.6, recompute=recompute, bf16_residual=bf16_residual
    ).train()
    images, weights = torch.randn(6, 3, 8, 8), torch.randn(6, 5, 16)
    results = []
    for pretended in (torch.Tensor, ()):  # every tensor passes for one without values, or none
        monkeypatch.setattr('mae.models.layers.block.FakeTensor', pretended)
        encoder.zero_grad()
        torch.manual_seed(1)
        with torch.autocast('cpu', torch.bfloat16, enabled=amp), Seen() as seen:
            out = encoder(images)
            (out * weights).sum().backward()
        assert ('index_add' in seen.names) == (pretended == ())
        assert ('addcmul' in seen.names) == (pretended != ())
        results.append([out, *(p.grad for p in encoder.parameters() if p.grad is not None)])
    tolerance = 0.03 if amp else 1e-5
    for here, there in zip(*results, strict=True):
        assert here.dtype == there.dtype
        # The gradient of a key's bias is zero but for rounding.
        assert (here - there).norm() <= tolerance * max(there.norm(), 1)


@pytest.mark.parametrize('where', ['meta', 'fake'])
@forked
def test_without_values_shapes_are_the_same_at_every_draw(where):
    """And nothing is picked out of the stream, and the draws are one copy."""
    runs = []
    with FakeTensorMode() if where == 'fake' else torch.device('meta'):
        encoder = ViTEncoder(**SMALL, drop_path_rate=0.25).train()
        images = torch.empty(6, 3, 8, 8)
        for _ in range(5):
            encoder.zero_grad()
            with Seen() as seen:
                encoder(images).sum().backward()
            assert not {'index_select', 'index_add', 'nonzero'} & set(seen.names)
            assert seen.names.count('addcmul') == 2 * SMALL['arch']['depth']
            assert seen.names.count('rand') == 1
            runs.append((seen.names, seen.shapes))
    assert all(run == runs[0] for run in runs)


@forked
def test_one_graph_for_all_rates_and_nothing_drawn_in_it():
    graphs = []

    def record(module, _):
        graphs.append([node.name for node in module.graph.nodes])
        return module

    torch._dynamo.reset()
    counters.clear()
    encoder = ViTEncoder(**SMALL, drop_path_rate=0.3).train()
    for block in encoder.blocks:
        block.compile(backend=record, dynamic=False)
    images = torch.randn(6, 3, 8, 8)
    for _ in range(3):
        encoder(images).sum().backward()
    assert len(graphs) == 1
    assert not [name for name in graphs[0] if 'rand' in name or name.startswith('to_')]
    encoder.eval()
    encoder(images).sum().backward()
    assert len(graphs) == 2


def test_rates_grow_linearly_also_without_values():
    plain = drop_path_rates(0.3, 4)
    assert plain == torch.linspace(0, 0.3, 4).tolist()
    with FakeTensorMode():
        assert drop_path_rates(0.3, 4) == plain


@pytest.mark.parametrize('rate', [-0.1, 1, 1.5])
def test_a_rate_that_leaves_nothing_is_refused(rate):
    with pytest.raises(ValueError, match=rf'^drop_path_rate must lie in \[0, 1\), not {rate}$'):
        DropPath(rate)
