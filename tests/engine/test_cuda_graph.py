"""A step that is recorded and replayed, by a stand-in for a CUDA graph: fixed places for all.

It computes anew what a graph would, and writes it to where the recorded call has put it. What is
left for a GPU to show is that its kernels can be recorded.
"""

import pytest
import torch
from mmengine.hooks import Hook
from torch._subclasses import FakeTensorMode

from mae.engine import cuda_graph
from mae.engine.cuda_graph import GraphedStep, check_recordable, require_gpu
from mae.engine.optim import StepOptimWrapper
from mae.registry import MODELS
from mae.utils import precision
from mae.utils.digest import weights_sha256
from mae.utils.errors import ConfigError
from tests.engine.conftest import MAE
from tests.evaluation.test_on_device import Copies
from tests.forked import forked


class StandIn:
    """Records the step of a model: replays write to the gradients and outputs of the first call."""

    def __init__(self, model):
        self.params = [param for param in model.parameters() if param.requires_grad]
        self.replays = 0

    def __call__(self, function):
        function()  # as warm-up does
        outputs = {name: value.clone() for name, value in function().items()}
        grads = [param.grad for param in self.params]

        def replay():
            self.replays += 1
            kept = [param.grad for param in self.params]
            assert all(a is b for a, b in zip(kept, grads, strict=True))
            for name, value in function().items():
                outputs[name].copy_(value)
            for param, grad in zip(self.params, grads, strict=True):
                grad.copy_(param.grad)
                param.grad = grad

        return replay, outputs


class Record(Hook):
    """Replays steps if `records`, and spoils the loss of a step; notes the losses."""

    def __init__(self, records, spoiled):
        self.records, self.spoiled, self.losses, self.stand_in = records, spoiled, [], None

    def before_train(self, runner):
        check_recordable(runner)
        if self.records:
            self.stand_in = StandIn(runner.bare_model)
            runner.train_loop.graphed_step = GraphedStep(runner.bare_model, self.stand_in)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        scale = torch.nan if runner.iter == self.spoiled else 1
        runner.bare_model.loss.scale = torch.as_tensor(scale)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(str(float(outputs['loss'])))  # in which NaN is NaN


def train(make_runner, folder, records, changes=()):
    hook = Record(records, spoiled=6)
    runner = make_runner(folder, {'train_cfg.max_epochs': 2, **dict(changes)})
    runner.register_hook(hook)
    runner.train()
    assert hook.stand_in is None or hook.stand_in.replays == len(hook.losses)
    bad = [hook.count.total for hook in runner.hooks if hasattr(hook, 'count')]
    return hook.losses, bad, weights_sha256(runner.bare_model.state_dict())


@pytest.mark.parametrize(
    'changes',
    [
        {'optim_wrapper.clip_grad': dict(max_norm=1.0)},
        {'optim_wrapper.amp': 'bfloat16', 'optim_wrapper.weight_copies': True},
    ],
    ids=['float32, clipped', 'bfloat16, weights copied'],
)
def test_a_replayed_run_has_the_same_bits(make_runner, monkeypatch, changes):
    """Also of a step that is skipped, as its loss is NaN, and of those after it."""
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: True)
    compute = MODELS.get('MaskedMSELoss').forward
    monkeypatch.setattr(
        MODELS.get('MaskedMSELoss'),
        'forward',
        lambda loss, pred, target: compute(loss, pred, target) * getattr(loss, 'scale', 1),
    )
    losses, bad, _ = expected = train(make_runner, 'plain', False, changes)
    assert len(losses) == 10
    assert losses.count('nan') == 1
    assert bad == [1]
    assert train(make_runner, 'replayed', True, changes) == expected


def toy():
    """A graphed step of a tiny model, its wrapper and a batch."""
    torch.manual_seed(0)
    model = MODELS.build(MAE).train()
    numbers = torch.arange(4)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    batch = {'inputs': images, 'keys': numbers + 1, 'labels': numbers, 'ids': numbers}
    wrapper = StepOptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    return GraphedStep(model, StandIn(model)), wrapper, batch


def step_of(graphed, wrapper, batch):
    wrapper.begin_step([1.0])
    return float(graphed(batch, wrapper)['loss'])


def test_each_batch_is_computed_and_none_is_changed():
    graphed, wrapper, batch = toy()
    other = {**batch, 'inputs': 255 - batch['inputs']}
    kept = batch['inputs'].clone()
    losses = [step_of(graphed, wrapper, each) for each in (batch, other, batch)]
    assert len(set(losses)) == 3
    assert losses[2] < losses[0]
    assert torch.equal(batch['inputs'], kept)


def smaller(batch):
    return {name: value[:3] for name, value in batch.items()}


def other_type(batch):
    return {**batch, 'inputs': batch['inputs'].float()}


def without_keys(batch):
    return {name: value for name, value in batch.items() if name != 'keys'}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            smaller,
            r'of a batch is \w+ \(3,.*\), and was \w+ \(4,.*\) when .* need the same shapes$',
        ),
        (other_type, 'inputs of a batch is float32 .* and was uint8 '),
        (without_keys, r'keys of a batch is missing, and was int64 \(4,\)'),
    ],
)
def test_a_batch_of_another_shape_is_refused_before_it_is_computed(change, message):
    graphed, wrapper, batch = toy()
    step_of(graphed, wrapper, batch)
    before = weights_sha256(graphed._model.state_dict())
    with pytest.raises(ConfigError, match=f'^cuda_graph=True: .*{message}'):
        step_of(graphed, wrapper, change(batch))
    assert weights_sha256(graphed._model.state_dict()) == before


def test_hooks_of_modules_and_gradients_are_refused():
    def module(model):
        model.encoder.norm.register_forward_hook(lambda *_: None)

    def gradient(model):
        model.encoder.cls_token.register_hook(lambda grad: grad)

    for hook, name in (module, 'encoder.norm'), (gradient, 'encoder.cls_token'):
        graphed, wrapper, batch = toy()
        hook(graphed._model)
        with pytest.raises(ConfigError, match=f'^cuda_graph=True: {name} has a .*hook'):
            step_of(graphed, wrapper, batch)


LOW = [dict(type='LowResolutionHook', img_size=4, epochs=1)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'train_dataloader.batch_size': 16}, 'a step of 32 samples has 2 micro-batches'),
        (
            {
                'global_batch_size': 48,
                'train_dataloader.batch_size': 48,
                'train_dataloader.sampler.drop_last': False,
            },
            'the last step of an epoch has 16 samples, the others 48: set .*drop_last=True',
        ),
        ({'custom_hooks': LOW}, 'LowResolutionHook changes the shape of images'),
        ({'model.encoder.drop_path_rate': 0.1}, 'drop path draws on the host in each step'),
        (
            {'model.preprocessor.erase': dict(prob=0.5, mode='pixel')},
            'mixup or erasing draws on the host in each step',
        ),
        ({'optim_wrapper.amp': 'float16'}, "optim_wrapper.amp='float16' has a gradient scaler"),
        ({'activation_checkpointing': ['encoder']}, 'activation_checkpointing asks for random'),
    ],
)
def test_a_run_that_a_graph_would_not_repeat_is_refused(make_runner, monkeypatch, changes, message):
    monkeypatch.setattr('mae.engine.runner.require_gpu', lambda **_: None)
    runner = make_runner(changes={**changes, 'cuda_graph': True})
    with pytest.raises(ConfigError, match=f'^cuda_graph=True: {message}'):
        runner.train()
    assert runner.iter == 0


def test_a_classifier_whose_labels_are_checked_on_the_host_is_refused(make_runner, monkeypatch):
    monkeypatch.setattr('mae.engine.runner.require_gpu', lambda **_: None)
    runner = make_runner(changes={'cuda_graph': True}, classify=True)
    with pytest.raises(ConfigError, match=r'^cuda_graph=True: a step of a Classifier also works'):
        runner.train()


def test_neither_on_a_cpu_nor_in_several_processes(make_runner, monkeypatch):
    with pytest.raises(ConfigError, match=r'^cuda_graph=True needs a GPU, and torch sees none$'):
        make_runner(changes={'cuda_graph': True})
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(ConfigError, match=r'^cuda_graph=True works in one process'):
        require_gpu(distributed=True)
    require_gpu(distributed=False)


def test_a_run_that_asks_for_it_records_its_first_step(make_runner, monkeypatch):
    monkeypatch.setattr('mae.engine.runner.require_gpu', lambda **_: None)
    recorded = []

    def record(function):
        recorded.append(function)
        return StandIn(runner.bare_model)(function)

    monkeypatch.setattr(cuda_graph.GraphedStep.__init__, '__defaults__', (record,))
    runner = make_runner(changes={'cuda_graph': True, 'train_cfg.max_epochs': 2})
    runner.train()
    assert len(recorded) == 1
    assert runner.iter == 10


@forked  # torch then takes the machine for one with a GPU
def test_the_forward_pass_copies_nothing_between_host_and_device():
    """On tensors that only seem to be on a GPU: a graph would repeat the first copy for ever."""
    with FakeTensorMode(), torch.device('cuda'):
        model = MODELS.build(MAE).train()
        model.data_preprocessor._device = torch.device('cuda')  # as `to` would note
        numbers = torch.empty(4, dtype=torch.int64)
        images = torch.empty(4, 1, 8, 8, dtype=torch.uint8)
        batch = {'inputs': images, 'keys': numbers, 'labels': numbers, 'ids': numbers}
        with Copies() as copies:
            inputs = model.data_preprocessor(batch, True)
            loss, _ = model.parse_losses(model(**inputs, mode='loss'))
    assert loss.device.type == 'cuda'
    assert copies.found == []
