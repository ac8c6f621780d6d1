"""The runner has what its protocols promise: mypy sees nothing of what mmengine's part of it is."""

import inspect

import pytest

from mae.engine.loops import TrainLoop
from mae.engine.optim.wrapper import StepOptimWrapper
from mae.fault_tolerance.runner import StepLoop, StepWrapper, TrainingRunner
from mae.utils.runner_protocol import Loader


def members(protocol):
    """Public names; with each what the protocol defines, which is nothing for an attribute."""
    found = {}
    for base in protocol.__mro__:
        if getattr(base, '_is_protocol', False):
            own = {name: what for name, what in vars(base).items() if not name.startswith('_')}
            found |= dict.fromkeys(inspect.get_annotations(base)) | own
    return found


@pytest.fixture
def trained(make_runner):
    runner = make_runner(classify=True, changes={'train_cfg.max_epochs': 1})
    runner.train()
    return runner


def test_built_runner_has_what_the_protocols_promise(trained):
    parts = {
        TrainingRunner: trained,
        StepLoop: trained.train_loop,
        StepWrapper: trained.optim_wrapper,
        Loader: trained.train_dataloader,
    }
    assert isinstance(trained.train_loop, TrainLoop)
    assert isinstance(trained.optim_wrapper, StepOptimWrapper)
    for protocol, part in parts.items():
        promised = members(protocol)
        assert len(promised) >= 3
        assert [name for name in promised if not hasattr(part, name)] == [], protocol
    assert len(trained.val_dataloader) == 2
    assert {'iter', 'logger', 'train_loop', 'stop_signum', 'call_hook'} <= set(
        members(TrainingRunner)
    )


def test_properties_have_the_promised_plain_types(trained):
    checked = 0
    for name, what in members(TrainingRunner).items():
        kind = what.fget.__annotations__['return'] if isinstance(what, property) else None
        if kind in (int, str, bool):
            assert isinstance(getattr(trained, name), kind), name
            checked += 1
    assert checked >= 10
    assert trained.iter == trained.max_iters == 5


def test_methods_take_the_promised_arguments(trained):
    for protocol, part in ((TrainingRunner, trained), (StepWrapper, trained.optim_wrapper)):
        for name, what in members(protocol).items():
            if inspect.isfunction(what):
                promised = [p for p in inspect.signature(what).parameters if p != 'self']
                taken = list(inspect.signature(getattr(part, name)).parameters)
                assert taken[: len(promised)] == promised, name
