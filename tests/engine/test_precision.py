"""The precision of training and evaluation: what the config says, on what the device can."""

import logging
import warnings

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mae.evaluation import Accuracy
from mae.evaluation.loops import eval_context
from mae.models.algorithms import Classifier
from mae.models.encoders import ViTEncoder
from mae.utils import precision
from mae.utils.errors import ConfigError
from mae.utils.precision import EvalPrecision, cost_of_float32, dtype_of, set_matmul_precision
from tests.engine.conftest import loader


@pytest.fixture
def gpu(monkeypatch):
    """gpu(capability): from now on there seems to be a GPU of that compute capability."""

    def appear(*capability):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla V100')

    before = torch.get_float32_matmul_precision()
    yield appear
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ('config', 'dtype', 'line'),
    [
        ({}, None, ''),
        ({'optim_wrapper': {'amp': None}}, None, ''),
        ({'optim_wrapper': {'amp': 'bfloat16'}}, torch.bfloat16, 'in bfloat16 as training does'),
        ({'optim_wrapper': {'amp': 'float16'}}, torch.float16, 'in float16 as training does'),
        (
            {'optim_wrapper': {'amp': 'bfloat16'}, 'eval_amp': None},
            None,
            'in float32, see eval_amp',
        ),
        ({'eval_amp': 'bfloat16'}, torch.bfloat16, 'in bfloat16, see eval_amp'),
    ],
)
def test_evaluation_follows_training_unless_told_otherwise(config, dtype, line, monkeypatch):
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: True)
    found = EvalPrecision.of(Config(config), 'cpu')
    assert found.dtype == dtype
    assert line in found.line
    assert bool(line) == bool(found.line)
    with found.autocast():
        assert torch.is_autocast_enabled('cpu') == (dtype is not None)


def test_a_cpu_without_bfloat16_evaluates_in_float32(monkeypatch):
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = EvalPrecision.of({'optim_wrapper': {'amp': 'bfloat16'}}, 'cpu')
    assert found.dtype is None
    assert 'this CPU lacks bfloat16' in found.line
    with pytest.warns(UserWarning, match='eval_amp=None is faster'):  # asked for in so many words
        assert EvalPrecision.of({'eval_amp': 'bfloat16'}, 'cpu').dtype == torch.bfloat16


def test_what_a_gpu_lacks_is_refused_in_a_line(gpu):
    gpu(7, 0)
    with pytest.raises(ConfigError, match=r"^optim_wrapper.amp: a Tesla V100 .*; take 'float16'"):
        dtype_of('bfloat16', 'optim_wrapper.amp', 'cuda')
    with pytest.raises(ConfigError, match=r"precision='high': a Tesla V100 has no TF32$"):
        set_matmul_precision('high')
    assert dtype_of('float16', 'optim_wrapper.amp', 'cuda') == torch.float16
    gpu(9, 0)
    assert dtype_of('bfloat16', 'optim_wrapper.amp', 'cuda') == torch.bfloat16


def test_float32_on_a_gpu_says_what_it_costs(gpu):
    assert cost_of_float32(None) == ''  # on a CPU it costs nothing
    gpu(9, 0)
    assert "env_cfg.float32_matmul_precision='high' takes TF32" in cost_of_float32(None)
    assert cost_of_float32('bfloat16') == ''
    assert set_matmul_precision('high') == ''
    assert torch.get_float32_matmul_precision() == 'high'
    assert cost_of_float32(None) == ''


def test_tf32_without_a_gpu():
    assert 'no effect without a GPU' in set_matmul_precision('high')
    assert torch.get_float32_matmul_precision() == 'highest'
    with pytest.raises(ConfigError, match=r"must be 'highest' or 'high', not 'tf32'"):
        set_matmul_precision('tf32')


def test_the_runner_says_both(make_runner, gpu, monkeypatch, caplog):
    changes = {'env_cfg.float32_matmul_precision': 'high', 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes)
    (handler,) = [h for h in runner.logger.handlers if isinstance(h, logging.FileHandler)]
    with open(handler.baseFilename) as log:
        assert "float32_matmul_precision='high' has no effect without a GPU" in log.read()
    told = []
    monkeypatch.setattr(runner.logger, 'warning', told.append)
    monkeypatch.setattr('mae.engine.runner.cost_of_float32', lambda amp: f'amp is {amp}')
    runner.train_loop  # noqa: B018  (the rate follows from its batches)
    runner.build_optim_wrapper(runner.optim_wrapper)
    assert told == ['amp is None']


class Spy:
    """Whether autocast was on in each forward pass of the encoder, and in each metric."""

    def __init__(self, monkeypatch):
        self.encoder, self.metric, self.logits = [], [], []
        forward, process = ViTEncoder.encode, Accuracy.process

        def spied(encoder, *args, **options):
            if not encoder.training:
                self.encoder.append(torch.is_autocast_enabled('cpu'))
            return forward(encoder, *args, **options)

        def counted(metric, batch, samples):
            self.metric.append(torch.is_autocast_enabled('cpu'))
            self.logits += [sample['logits'].dtype for sample in samples]
            process(metric, batch, samples)

        monkeypatch.setattr(ViTEncoder, 'encode', spied)
        monkeypatch.setattr(Accuracy, 'process', counted)
        monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: True)


BANK = loader('train', 5, 'ShardSampler')
HOOK = dict(type='KNNHook', dataloader=loader('val', 5, 'ShardSampler'), bank_dataloader=BANK)


@pytest.mark.parametrize('switch', [{}, {'eval_amp': None}], ids=['as trained', 'float32'])
@pytest.mark.parametrize('amp', ['bfloat16', None])
def test_validation_and_knn_hook(make_runner, monkeypatch, amp, switch):
    spy = Spy(monkeypatch)
    changes = {'optim_wrapper.amp': amp, 'custom_hooks': [{**HOOK, 'k': 3}], **switch}
    runner = make_runner(changes={**changes, 'train_cfg.max_epochs': 2}, classify=True)
    runner.train()
    assert set(spy.encoder) == {amp is not None and not switch}
    assert set(spy.metric) == {False}
    assert torch.float32 in spy.logits
    assert not {torch.bfloat16, torch.float16} & set(spy.logits)
    (log,) = [h for h in runner.logger.handlers if isinstance(h, logging.FileHandler)]
    with open(log.baseFilename) as file:
        assert file.read().count('evaluation computes in') == (amp is not None or bool(switch))


def test_knn_loop(make_runner, monkeypatch):
    spy = Spy(monkeypatch)
    changes = {
        'eval_amp': 'bfloat16',
        'test_cfg': dict(type='KNNLoop', bank_dataloader=BANK, k=3),
        'test_dataloader': loader('val', 5, 'ShardSampler'),
        'test_evaluator': dict(type='Accuracy', topk=1),
    }
    runner = make_runner(changes=changes)
    runner.test()
    assert set(spy.encoder) == {True}
    assert set(spy.metric) == {False}


def test_mmengines_switch_of_a_loop_and_its_runner():
    with eval_context(object(), {}, fp16=True):
        assert torch.is_autocast_enabled('cpu')
    with eval_context(object(), {}):
        assert not torch.is_autocast_enabled('cpu')


def test_logits_are_no_coarser_than_the_head_computes_them():
    """In bfloat16 the largest two of them are often equal, and a tie counts as a miss."""
    model = Classifier.__new__(Classifier)
    nn.Module.__init__(model)
    model.encoder, model.head = nn.Identity(), nn.Linear(64, 100)
    tokens = torch.randn(8, 64)
    exact = model(tokens)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(model(tokens), exact)
        assert model(tokens.bfloat16()).dtype == torch.float32
