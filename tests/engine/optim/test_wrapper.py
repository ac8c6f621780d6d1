import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mae.engine.optim import StepOptimWrapper
from mae.utils import precision
from tests.forked import forked


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).double()


def train(sizes, steps=3, clip_grad=None):
    """Weights after steps over the same 24 samples, cut into micro-batches of `sizes`."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    wrapper = StepOptimWrapper(optimizer, clip_grad=clip_grad)
    inputs, labels = torch.randn(24, 6).double(), torch.randint(0, 3, (24,))
    for _ in range(steps):
        wrapper.begin_step([size / 24 for size in sizes])
        for x, y in zip(inputs.split(sizes), labels.split(sizes), strict=True):
            with wrapper.optim_context(model):
                loss = F.cross_entropy(model(x), y)
            wrapper.update_params(loss)
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize('sizes', [[6, 6, 6, 6], [10, 10, 4], [1, 23]])
@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=0.1)])
def test_micro_batches_make_up_one_batch(sizes, clip_grad):
    # Unequal ones too: each weighs as many samples as it has.
    torch.testing.assert_close(train(sizes, clip_grad=clip_grad), train([24], clip_grad=clip_grad))


def test_one_update_a_step():
    model = network()
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    wrapper = StepOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    wrapper.begin_step([0.5, 0.5])
    changed = []
    for _ in range(2):
        wrapper.update_params(model(torch.ones(1, 6).double()).sum())
        changed.append(not torch.equal(nn.utils.parameters_to_vector(model.parameters()), before))
    assert changed == [False, True]
    assert all(param.grad is None for param in model.parameters())


def test_a_loop_without_begin_step_reduces_gradients_at_each_step():
    """As mmengine's, where each micro-batch is a step."""
    model = network()
    wrapper = StepOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for _ in range(3):
        assert wrapper.should_sync()
        wrapper.update_params(model(torch.ones(1, 6).double()).sum())
        assert wrapper.should_update()


def test_gradients_are_clipped():
    small, large = train([24], steps=1, clip_grad=dict(max_norm=1e-12)), train([24], steps=1)
    start = nn.utils.parameters_to_vector(network().parameters())
    assert (small - start).norm() < 0.05 * (large - start).norm()


class Forward(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.dtypes = []

    def forward(self, x):
        out = self.layer(x)
        self.dtypes.append(out.dtype)
        return out.float().square().mean()


@pytest.mark.parametrize('amp', ['bfloat16', None])
@pytest.mark.parametrize('supported', [False, True])
def test_a_cpu_that_is_slower_in_bfloat16_is_told_of(amp, supported, monkeypatch):
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: supported)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        StepOptimWrapper(torch.optim.SGD(network().parameters(), lr=0.1), amp=amp)
    told = [str(warning.message) for warning in told]
    assert len(told) == (amp is not None and not supported)
    assert all('no instructions for bfloat16' in line for line in told)


@pytest.mark.parametrize(
    ('amp', 'dtype'),
    [(None, torch.float32), ('bfloat16', torch.bfloat16), ('float16', torch.float16)],
)
def test_mixed_precision(amp, dtype):
    model = Forward()
    before = model.layer.weight.detach().clone()
    wrapper = StepOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), amp=amp)
    for _ in range(3):
        wrapper.begin_step([0.5, 0.5])
        for _ in range(2):
            with wrapper.optim_context(model):
                loss = model(torch.randn(5, 4))
            wrapper.update_params(loss)
    assert set(model.dtypes) == {dtype}
    assert model.layer.weight.dtype == torch.float32
    assert not torch.equal(model.layer.weight, before)
    assert model.layer.weight.isfinite().all()
    assert ('loss_scaler' in wrapper.state_dict()) == (amp == 'float16')  # bf16 needs none


def test_float16_overflow_skips_the_step():
    model = Forward()
    wrapper = StepOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), amp='float16')
    before = model.layer.weight.detach().clone()
    wrapper.begin_step([1.0])
    wrapper.update_params(model.layer.weight.sum() * torch.inf)
    assert torch.equal(model.layer.weight, before)
    scale = wrapper.state_dict()['loss_scaler']['scale']
    assert scale < 2.0**16
    other = StepOptimWrapper(torch.optim.SGD(Forward().parameters(), lr=0.1), amp='float16')
    other.load_state_dict(wrapper.state_dict())
    assert other.state_dict()['loss_scaler']['scale'] == scale


def test_state_round_trip():
    wrapper = StepOptimWrapper(torch.optim.AdamW(network().parameters(), lr=0.01))
    wrapper.load_state_dict(wrapper.state_dict())


def test_unknown_precision():
    with pytest.raises(ValueError, match=r"^optim_wrapper.amp must be .* not 'fp16'$"):
        StepOptimWrapper(torch.optim.SGD(network().parameters(), lr=0.1), amp='fp16')


class Reads(TorchDispatchMode):
    """Operators that hand a value to the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'clip_grad',
    [dict(max_norm=0.1), dict(max_norm=0.1, norm_type=1), dict(type='value', clip_value=1)],
)
def test_clipping_reads_nothing_back(clip_grad):
    model = network()
    model(torch.ones(2, 6).double()).sum().backward()
    wrapper = StepOptimWrapper(torch.optim.AdamW(model.parameters()), clip_grad=clip_grad)
    wrapper.begin_step([1.0])
    with Reads() as reads:
        wrapper._clip_grad()
    assert reads.count == 0
    assert (wrapper.grad_norm is None) == ('clip_value' in clip_grad)


@forked  # torch then takes the machine for one with a GPU
def test_on_a_gpu_the_norms_of_the_check_are_those_to_clip_by(monkeypatch):
    """They are read once: with what seem to be tensors of a GPU, which nothing can read back."""
    with FakeTensorMode():
        model = nn.Sequential(nn.Linear(6, 8, device='cuda'), nn.Linear(8, 3, device='cuda'))
        for param in model.parameters():
            param.grad = torch.empty_like(param)
        options = dict(clip_grad=dict(max_norm=0.1))
        wrapper = StepOptimWrapper(torch.optim.AdamW(model.parameters()), **options)
        wrapper.begin_step([1.0])
        wrapper._check_gradients()
        before = wrapper.grad_norms
        monkeypatch.setattr(nn.utils, 'get_total_norm', lambda *args: pytest.fail('read again'))
        wrapper._clip_grad()
        assert wrapper.grad_norm.device.type == 'cuda'
        assert wrapper.grad_norms is before


def test_clipping_by_known_norms_is_clipping():
    model, other = network(), network()
    for each in (model, other):
        each(torch.ones(2, 6).double()).square().sum().backward()
    wrapper = StepOptimWrapper(
        torch.optim.AdamW(model.parameters()), clip_grad=dict(max_norm=0.1, norm_type=2)
    )
    wrapper.begin_step([1.0])
    grads = [param.grad for param in model.parameters()]
    wrapper.grad_norms = torch.stack(torch._foreach_norm(grads))
    wrapper._clip_grad()
    total = nn.utils.clip_grad_norm_(other.parameters(), 0.1)
    assert torch.equal(wrapper.grad_norm, total)
    for param, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(param.grad, theirs.grad)


def test_a_loop_of_mmengines_gets_the_norm_as_ever():
    model = network()
    wrapper = StepOptimWrapper(torch.optim.AdamW(model.parameters()), clip_grad=dict(max_norm=0.1))
    wrapper.update_params(model(torch.ones(2, 6).double()).sum())
    assert wrapper.message_hub.get_scalar('train/grad_norm').current() > 0
