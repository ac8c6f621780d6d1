"""What mmengine promises of its runner holds for ours; what does not is in design/mmengine.md.

A toy model and data set in mmengine's own scope: its loops, samplers, hooks, optimizers.
"""

import copy
import inspect
import itertools
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    EMAHook,
    Hook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
)
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    MultiStepLR,
    OptimWrapper,
    OptimWrapperDict,
    StepLR,
)
from mmengine.registry import PARAM_SCHEDULERS, RUNNERS, DefaultScope, Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner import Runner as MMRunner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mae.engine import Runner
from mae.engine.hooks import GuardHook
from mae.fault_tolerance.checkpoint import load_checkpoint
from mae.utils.errors import CheckpointError, ConfigError

_NUMBER = itertools.count()


class Toy(BaseModel):
    """Two linear layers; the loss is squared, so that it ends."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 1)

    def forward(self, inputs, label, mode='tensor'):
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        label = torch.stack(label) if isinstance(label, list) else label
        found = self.second(self.first(inputs))
        return {'loss': ((found[:, 0] - label) ** 2).mean()} if mode == 'loss' else found


class Two(Toy):
    """Steps each of its layers with an optimizer of its own."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        for name in ('first', 'second'):
            loss = self(**data, mode='loss')['loss']
            optim_wrapper[name].update_params(loss)
        return {'loss': loss}


class Bare(nn.Module):
    """No BaseModel: it has nothing but a step."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def train_step(self, data, optim_wrapper):
        return {'loss': torch.tensor(1)}


class Points(Dataset):
    data = torch.linspace(-1, 1, 24).view(12, 2)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {'inputs': self.data[index], 'label': torch.ones(())}


class Named(Points):
    @property
    def metainfo(self):
        return {'classes': ('cat', 'dog')}


class Ones(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append({'acc': 1})

    def compute_metrics(self, results):
        return {'acc': len(results)}


class PerLayer:
    """Builds an optimizer for each layer that the config names."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        self.parts = {
            name: DefaultOptimWrapperConstructor(dict(part))
            for name, part in optim_wrapper_cfg.items()
        }

    def __call__(self, model):
        built = {name: build(getattr(model, name)) for name, build in self.parts.items()}
        return OptimWrapperDict(**built)


class Seen(Hook):
    """Where the loop is when it calls."""

    def __init__(self):
        self.epochs, self.steps, self.batches, self.validations = [], [], [], []

    def before_train_epoch(self, runner):
        self.epochs.append(runner.epoch)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.steps.append(runner.iter)
        self.batches.append(batch_idx)

    def before_val(self, runner):
        self.validations.append((runner.epoch, runner.iter))


def loader(**changes):
    return {
        'dataset': {'type': Named},
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'batch_size': 3,
        'num_workers': 0,
        **changes,
    }


def sgd(lr=0.01):
    return {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': lr}}


SEVERAL = {
    'first': sgd(),
    'second': {'type': 'OptimWrapper', 'optimizer': {'type': 'Adam', 'lr': 0.02}},
    'constructor': PerLayer,
}
BY_STEP = {
    'train_cfg': {'by_epoch': False, 'max_iters': 12},
    'train_dataloader': loader(sampler={'type': 'InfiniteSampler', 'shuffle': True}),
    'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False}},
}
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
VALIDATION = ('val_dataloader', 'val_cfg', 'val_evaluator')
TEST = ('test_dataloader', 'test_cfg', 'test_evaluator')


@pytest.fixture(autouse=True)
def _scope_of_others():
    """The last runner's scope stays in force: these here are in mmengine's."""
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = before


@pytest.fixture
def config(tmp_path):
    """config(without=keys, **changes)."""

    def make(without=(), **changes):
        given = {
            'model': {'type': Toy},
            'work_dir': str(tmp_path),
            'experiment_name': f'contract{next(_NUMBER)}',
            'train_dataloader': loader(),
            'train_cfg': {'by_epoch': True, 'max_epochs': 3},
            'optim_wrapper': sgd(),
            'param_scheduler': {'type': 'MultiStepLR', 'milestones': [1, 2]},
        }
        for part in ('val', 'test'):
            given |= {
                f'{part}_dataloader': loader(),
                f'{part}_cfg': {},
                f'{part}_evaluator': {'type': Ones},
            }
        given = {key: value for key, value in given.items() if key not in without}
        return Config({**copy.deepcopy(given), **changes})

    return make


@pytest.fixture
def make(config):
    return lambda *args, **changes: Runner.from_cfg(config(*args, **changes))


def of_type(runner, kind):
    return [hook for hook in runner.hooks if isinstance(hook, kind)]


# --- signatures -------------------------------------------------------------------------------


def overridden():
    return [name for name in vars(Runner) if name in vars(MMRunner) and name != '__doc__']


@pytest.mark.parametrize('name', [n for n in overridden() if callable(getattr(Runner, n))])
def test_what_is_overridden_accepts_what_mmengine_accepts(name):
    theirs, ours = inspect.getattr_static(MMRunner, name), inspect.getattr_static(Runner, name)
    assert isinstance(theirs, staticmethod) == isinstance(ours, staticmethod)
    theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (MMRunner, Runner))
    for (one, wanted), (other, found) in zip(
        theirs.parameters.items(), ours.parameters.items(), strict=False
    ):
        assert one == other
        assert found.kind == wanted.kind
        assert (found.default is found.empty) <= (wanted.default is wanted.empty)
    assert len(ours.parameters) == len(theirs.parameters)


def test_some_methods_are_compared():
    compared = {'save_checkpoint', 'load_checkpoint', 'resume', 'build_dataloader', 'scale_lr'}
    assert compared <= {name for name in overridden() if name != 'train'}


# --- building ---------------------------------------------------------------------------------


def test_hooks_of_a_run_are_mmengines(make):
    kinds = (
        RuntimeInfoHook,
        IterTimerHook,
        DistSamplerSeedHook,
        LoggerHook,
        ParamSchedulerHook,
        CheckpointHook,
    )
    runner = make()
    assert [type(hook) for hook in runner.hooks] == list(kinds)
    info = runner.get_hooks_info().partition('after_train_iter:\n')[2].partition(' -----')[0]
    names = [line.split(')')[1].strip() for line in info.splitlines() if line]
    left_out = {'DistSamplerSeedHook'}
    assert names == [kind.__name__ for kind in kinds if kind.__name__ not in left_out]
    runner._hooks = []
    runner.register_hooks({'timer': None}, [Seen(), {'type': EMAHook}])
    assert len(runner.hooks) == 7
    assert not of_type(runner, IterTimerHook)


def test_a_run_without_our_scope_has_our_hooks(make_runner):
    """Of a config that names its parts with their scope."""
    for scope in (None, 'mmengine'):
        runner = make_runner()
        config = runner.cfg.to_dict()
        config = {
            **config,
            'default_scope': scope,
            'experiment_name': f'{config["experiment_name"]}{scope}',
            'model': {**config['model'], '_scope_': 'mae'},
            'train_cfg': {'type': 'mae.TrainLoop', 'max_epochs': 2},
            'optim_wrapper': {
                **config['optim_wrapper'],
                'type': 'mae.StepOptimWrapper',
                'constructor': 'mae.GroupedOptimConstructor',
            },
            'param_scheduler': {'type': 'mae.WarmupCosineLR', 'warmup_epochs': 1},
            'default_hooks': {'logger': {'type': 'mae.LoggerHook'}, 'checkpoint': None},
        }
        data = config['train_dataloader']
        data['sampler'] = {'type': 'mae.GlobalBatchSampler'}
        data['dataset'] = {**data['dataset'], 'type': 'mae.SeededDataset', '_scope_': 'mae'}
        config['visualizer'] = None
        if scope is None:
            del config['default_scope']
        other = Runner.from_cfg(Config(config))
        assert len(of_type(other, GuardHook)) == 1
        other.train()
        assert other.iter == 10
        runner.cfg.train_cfg.max_epochs = 2


def test_in_our_scope_mmengines_loop_trains_without_hooks_that_it_does_not_feed(make):
    hooks = {'guard': {'type': 'GuardHook'}, 'checkpoint': {'type': 'CheckpointHook'}}
    runner = make(default_scope='mae', default_hooks=hooks)
    assert not of_type(runner, GuardHook)
    (log,) = Path(runner.work_dir).rglob('*.log')
    assert "default_hooks.guard: no effect without train_cfg.type='TrainLoop'" in log.read_text()
    runner.train()
    first = runner.bare_model.state_dict()
    again = make(default_scope='mae', default_hooks=hooks, resume=True)
    again.load_or_resume()
    assert (again.iter, again.epoch) == (12, 3)
    assert torch.equal(again.bare_model.second.weight, first['second.weight'])


def test_other_scopes_are_served(make):
    schedulers = Registry('parameter scheduler', parent=PARAM_SCHEDULERS, scope='contract')

    @schedulers.register_module()
    class Mine(MultiStepLR):
        pass

    runner = make(default_scope='contract', param_scheduler={'type': 'Mine', 'milestones': [1]})
    runner.train()
    assert isinstance(runner.param_schedulers[0], Mine)


def test_parts_that_are_built_already(tmp_path):
    model, hook = Toy(), Seen()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    data = [DataLoader(Points(), batch_size=3, collate_fn=pseudo_collate) for _ in range(3)]
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=data[0],
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper=wrapper,
        param_scheduler=MultiStepLR(wrapper, milestones=[1]),
        val_dataloader=data[1],
        val_cfg={},
        val_evaluator=[Ones()],
        test_dataloader=data[2],
        test_cfg={},
        test_evaluator=Evaluator(Ones()),
        default_hooks={'timer': IterTimerHook()},
        custom_hooks=[hook],
        experiment_name=f'contract{next(_NUMBER)}',
    )
    runner.train()
    assert runner.model is model
    assert runner.train_dataloader is data[0]
    assert hook.steps == list(range(8))
    assert wrapper.param_groups[0]['lr'] == pytest.approx(0.001)
    assert runner.test() == {'acc': 4}


def test_schedules_as_configs_and_objects(make):
    runner = make()
    runner.optim_wrapper = runner.build_optim_wrapper(sgd())
    ready = MultiStepLR(runner.optim_wrapper, milestones=[1])
    found = runner.build_param_scheduler([ready, {'type': 'StepLR', 'step_size': 1}])
    assert found[0] is ready
    assert isinstance(found[1], StepLR)
    assert found[1].by_epoch
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    given = {'type': 'MultiStepLR', 'milestones': [1, 2], 'begin': 1}
    (by_epoch,) = runner.build_param_scheduler(given)
    assert (by_epoch.by_epoch, by_epoch.begin, by_epoch.end) == (True, 1, 3)
    (by_step,) = runner.build_param_scheduler({**given, 'convert_to_iter_based': True})
    assert (by_step.by_epoch, by_step.begin, by_step.end) == (False, 4, 12)
    with pytest.raises(TypeError, match='scheduler should be'):
        runner._build_param_scheduler('a word', runner.optim_wrapper)


def test_optimizers_as_configs_and_objects(make):
    runner = make()
    assert isinstance(
        runner.build_optim_wrapper({'optimizer': {'type': 'SGD', 'lr': 1}}), OptimWrapper
    )
    optimizer = torch.optim.SGD(runner.model.parameters(), lr=0.1)
    assert runner.build_optim_wrapper({'optimizer': optimizer}).optimizer is optimizer
    parts = {'first': OptimWrapper(optimizer), 'second': OptimWrapper(optimizer)}
    assert isinstance(runner.build_optim_wrapper(parts), OptimWrapperDict)
    built = runner.build_optim_wrapper(SEVERAL)
    assert isinstance(built['second'].optimizer, torch.optim.Adam)
    with pytest.raises(TypeError, match='optimizer wrapper should be'):
        runner.build_optim_wrapper('a word')


def test_learning_rates_are_scaled_as_asked(make):
    runner = make()
    wrapper = runner.build_optim_wrapper(sgd(0.1))
    runner.scale_lr(wrapper, {'base_batch_size': 6, 'enable': False})
    assert wrapper.param_groups[0]['lr'] == 0.1
    runner.scale_lr(OptimWrapperDict(one=wrapper), {'base_batch_size': 6, 'enable': True})
    assert wrapper.param_groups[0]['lr'] == pytest.approx(0.05)
    with pytest.raises(AssertionError):
        runner.scale_lr(wrapper, {'enable': True})


def collated(batch, pad=0):
    return [*pseudo_collate(batch).items(), pad]


def test_loaders_of_mmengines_samplers(make):
    built = Runner.build_dataloader(loader(), seed=7)  # also without a runner
    assert isinstance(built.sampler, DefaultSampler)
    assert built.sampler.seed == 7
    assert make().build_dataloader(built) is built
    apart = Runner.build_dataloader(loader(), seed=7, diff_rank_seed=True)
    assert apart.sampler.seed != 7
    short = Runner.build_dataloader(loader(num_batch_per_epoch=2))
    assert len(short.dataset) == 6
    padded = Runner.build_dataloader(loader(collate_fn={'type': collated, 'pad': 3}))
    assert next(iter(padded))[-1] == 3
    with pytest.raises(TypeError, match='collate_fn should be'):
        Runner.build_dataloader(loader(collate_fn='collate'))
    with pytest.raises(ConfigError, match='incomplete: sampler is missing'):
        Runner.build_dataloader({'dataset': {'type': Named}, 'batch_size': 3})


def test_loops_as_configs_and_objects(make):
    runner = make()
    for given, kind in (
        ({'by_epoch': True, 'max_epochs': 3}, EpochBasedTrainLoop),
        ({'by_epoch': False, 'max_iters': 3}, IterBasedTrainLoop),
        ({'type': 'EpochBasedTrainLoop', 'max_epochs': 3}, EpochBasedTrainLoop),
        ({'type': IterBasedTrainLoop, 'max_iters': 3}, IterBasedTrainLoop),
    ):
        loop = runner.build_train_loop(given)
        assert type(loop) is kind
        assert runner.build_train_loop(loop) is loop
    assert type(runner.build_val_loop({})) is ValLoop
    assert type(runner.build_test_loop({})) is TestLoop
    with pytest.raises(RuntimeError, match='Only one'):
        runner.build_train_loop({'type': 'EpochBasedTrainLoop', 'by_epoch': True})
    for build in (runner.build_train_loop, runner.build_val_loop, runner.build_test_loop):
        with pytest.raises(TypeError, match='should be'):
            build('a word')


def test_a_runner_by_its_name(config):
    assert type(RUNNERS.build(config(runner_type='mae.Runner'))) is Runner
    assert type(RUNNERS.build(config(runner_type='Runner', _scope_='mae'))) is Runner


def test_a_model_on_its_own_has_no_sync_batch_norm(make, tmp_path):
    model = Toy()
    model.norm = nn.SyncBatchNorm(2)
    runner = make(model=model, model_wrapper_cfg={'type': 'MMDistributedDataParallel'})
    assert not isinstance(runner.model.norm, nn.SyncBatchNorm)


# --- running ----------------------------------------------------------------------------------


def test_the_epoch_loop_counts_and_validates(make):
    loop = {'by_epoch': True, 'max_epochs': 3, 'val_begin': 2}
    runner = make(custom_hooks=[{'type': Seen}], train_cfg=loop)
    assert isinstance(runner._train_loop, dict)
    runner.train()
    (seen,) = of_type(runner, Seen)
    assert seen.epochs == [0, 1, 2]
    assert seen.steps == list(range(12))
    assert seen.batches == [0, 1, 2, 3] * 3
    assert seen.validations == [(2, 8), (3, 12)]
    assert runner.optim_wrapper._inner_count == runner.optim_wrapper._max_counts == 12
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.0001)
    assert isinstance(runner._test_loop, dict)
    (log,) = Path(runner.work_dir).rglob('*.log')
    assert 'Epoch(train) [1][4/4]' in log.read_text()


@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_the_iteration_loop_counts_and_validates(make, sampler):
    loop = {'by_epoch': False, 'max_iters': 12, 'val_interval': 5, 'dynamic_intervals': [(11, 2)]}
    data = loader(sampler={'type': sampler, 'shuffle': True})
    changes = {**BY_STEP, 'train_cfg': loop, 'train_dataloader': data}
    runner = make(**changes, custom_hooks=[{'type': Seen}])
    runner.train()
    (seen,) = of_type(runner, Seen)
    assert seen.steps == seen.batches == list(range(12))
    assert [step for _, step in seen.validations] == [5, 10, 12]


@pytest.mark.parametrize('scope', ['mmengine', 'mae'])
@pytest.mark.parametrize('changes', [{}, BY_STEP], ids=['epochs', 'steps'])
def test_our_logger_and_wrapper_serve_mmengines_loops(make, scope, changes):
    hooks = {**changes.get('default_hooks', {}), 'logger': {'type': 'mae.LoggerHook'}}
    wrapper = {'type': 'mae.StepOptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.01}}
    runner = make(**{**changes, 'default_hooks': hooks}, default_scope=scope, optim_wrapper=wrapper)
    plain = make(**changes)
    torch.manual_seed(0)
    for one in (runner, plain):
        one.train()
        assert one.iter == 12


def test_data_without_names_and_models_without_more_than_a_step(make):
    data = loader(dataset={'type': Points})
    make(train_dataloader=data).train()
    make(VALIDATION, model={'type': Bare}, train_dataloader=data).train()
    with pytest.raises(AssertionError, match='If you want to validate'):
        make(model={'type': Bare}).train()


def test_the_model_is_started_once(make):
    class Started(Toy):
        starts = 0

        def init_weights(self):
            self.starts += 1
            nn.init.zeros_(self.second.weight)

    runner = make(model={'type': Started})
    runner.train()
    path = Path(runner.work_dir) / 'epoch_3.pth'
    expected = runner.model.second.weight.clone()
    assert runner.model.starts == 1
    again = make(model={'type': Started}, optim_wrapper=sgd(0.0))
    again.load_checkpoint(str(path))
    again.train()  # with mmengine's runner this starts the weights anew
    assert again.model.starts == 1
    assert torch.equal(again.model.second.weight, expected)


def test_what_is_missing_is_said_as_mmengine_says_it(make, config):
    with pytest.raises(RuntimeError, match='should not be None'):
        make(TRAINING).train()
    with pytest.raises(RuntimeError, match='should not be None'):
        make(VALIDATION).val()
    with pytest.raises(RuntimeError, match='should not be None'):
        make(TEST).test()
    with pytest.raises(ValueError, match='either all None or not None'):
        Runner(**config(('train_cfg',)))


def test_only_validating_and_only_testing(make):
    assert make((*TRAINING, *TEST)).val() == {'acc': 4}
    runner = make()
    assert runner.test() == {'acc': 4}
    assert isinstance(runner._train_loop, dict)
    assert isinstance(runner._val_loop, dict)
    found = []
    runner = make((*TRAINING, *VALIDATION), test_cfg={'fp16': True})
    runner.model.register_forward_hook(lambda module, inputs, output: found.append(output))
    runner.test()
    assert found[0].dtype in (torch.bfloat16, torch.float16)


def test_custom_loops_and_hook_points(make):
    calls = []

    class Warmed(IterBasedTrainLoop):
        def __init__(self, runner, dataloader, max_iters, warmup):
            super().__init__(runner, dataloader, max_iters)
            self.warmup = runner.build_dataloader(warmup)

        def run(self):
            for batch in self.warmup:
                self.runner.call_hook('before_warmup', data_batch=batch)
            return super().run()

    class Count(Hook):
        def before_warmup(self, runner, data_batch=None):
            calls.append(len(data_batch['inputs']))

    loop = {'type': Warmed, 'max_iters': 4, 'warmup': loader(batch_size=4)}
    make(**{**BY_STEP, 'train_cfg': loop}, custom_hooks=[Count()]).train()
    assert calls == [4, 4, 4]


# --- checkpoints ------------------------------------------------------------------------------


def test_mmengines_checkpoint_hook_saves_and_our_runner_resumes(make):
    first = make()
    first.train()
    path = Path(first.work_dir) / 'epoch_3.pth'
    found = torch.load(path, weights_only=True)  # plain values
    meta = found['meta']
    assert (meta['epoch'], meta['iter'], meta['step']) == (3, 12, 12)
    assert (meta['experiment_name'], meta['seed']) == (first.experiment_name, first.seed)
    assert meta['dataset_meta'] == {'classes': ['cat', 'dog']}
    hub = MessageHub.get_instance(f'contract{next(_NUMBER)}')
    hub.load_state_dict(found['message_hub'])
    assert (hub.get_info('epoch'), hub.get_info('iter')) == (2, 11)

    weights = make(optim_wrapper={'type': 'unknown'})
    weights.load_checkpoint(str(path), map_location='cpu', strict=True)
    assert (weights.epoch, weights.iter, weights._has_loaded) == (0, 0, True)
    assert isinstance(weights.param_schedulers, dict)

    other = {'type': 'MultiStepLR', 'milestones': [1, 2, 3]}
    second = make(optim_wrapper=sgd(0.2), param_scheduler=other)
    second.resume(str(path), map_location='cpu')
    assert (second.epoch, second.iter, second._has_loaded) == (3, 12, True)
    assert second.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.0001)
    assert second.param_schedulers[0].milestones == {1: 1, 2: 1}
    assert second.message_hub.get_info('iter') == 11
    assert second.seed == first.seed
    third = make(optim_wrapper=sgd(0.2), param_scheduler=other)
    third.resume(str(path), resume_optimizer=False, resume_param_scheduler=False)
    assert third.optim_wrapper.param_groups[0]['lr'] == 0.2
    assert third.param_schedulers[0].milestones == {1: 1, 2: 1, 3: 1}

    automatic = make(resume=True)
    automatic.load_or_resume()
    assert (automatic.epoch, automatic.iter) == (3, 12)
    named = make(resume=True, load_from=str(path.with_name('epoch_1.pth')))
    named.load_or_resume()
    assert (named.epoch, named.iter) == (1, 4)


def test_resuming_the_iteration_loop(make):
    first = make(**BY_STEP)
    first.train()
    path = Path(first.work_dir) / 'iter_12.pth'
    meta = load_checkpoint(path)['meta']
    assert (meta['epoch'], meta['iter']) == (0, 12)
    named = make(**BY_STEP, resume=True, load_from=str(path.with_name('iter_3.pth')))
    named.load_or_resume()
    assert (named.epoch, named.iter) == (0, 3)
    named.train()
    assert named.iter == 12


SCHEDULES = {
    'none': None,
    'one': {'type': 'MultiStepLR', 'milestones': [1, 2]},
    'list': [{'type': 'MultiStepLR', 'milestones': [1, 2]}],
    'each': {
        'first': {'type': 'MultiStepLR', 'milestones': [1, 2]},
        'second': [{'type': 'StepLR', 'step_size': 3}],
    },
}


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_several_optimizers_train_and_resume(make, schedule):
    changes = {
        'model': {'type': Two},
        'optim_wrapper': SEVERAL,
        'param_scheduler': SCHEDULES[schedule],
    }
    first = make(**changes)
    first.train()
    again = make(**changes)
    again.resume(str(Path(first.work_dir) / 'epoch_3.pth'))
    for name in ('first', 'second'):
        ours, theirs = again.optim_wrapper[name], first.optim_wrapper[name]
        assert ours.param_groups[0]['lr'] == theirs.param_groups[0]['lr']
        assert str(ours.state_dict()) == str(theirs.state_dict())
    if schedule == 'none':
        assert again.param_schedulers is None
    else:
        assert {name: len(found) for name, found in again.param_schedulers.items()} == {
            'first': 1,
            'second': 1,
        }


def test_a_seed_of_the_config_that_differs_is_told(make, caplog):
    make(randomness={'seed': 1}).train()
    other = make(randomness={'seed': 2}, resume=True)
    other.logger.addHandler(caplog.handler)
    other.load_or_resume()
    assert other.seed == 1
    assert [r.levelno for r in caplog.records if 'randomness.seed=2' in r.getMessage()] == [
        logging.WARNING
    ]


def test_mmengines_average_of_the_weights_is_kept(make):
    hooks = [{'type': 'EMAHook', 'momentum': 0.5}]
    first = make(custom_hooks=hooks)
    first.train()
    again = make(custom_hooks=hooks, resume=True)
    again.train()
    averages = [of_type(runner, EMAHook)[0].ema_model.state_dict() for runner in (first, again)]
    for name, value in averages[0].items():
        assert torch.equal(value, averages[1][name]), name


def test_weights_with_other_names(make, tmp_path):
    runner = make()
    weights = {f'old.{name}': torch.ones_like(w) for name, w in runner.model.state_dict().items()}
    path = tmp_path / 'other.pth'
    torch.save(weights, path)
    runner.load_checkpoint(str(path), revise_keys=[(r'^old\.', '')])
    assert all(bool((w == 1).all()) for w in runner.model.state_dict().values())
    with pytest.raises(CheckpointError, match='other'):
        make().load_checkpoint(str(path), strict=True)


# --- mmengine's parts with our loop: told in a line -------------------------------------------


def test_mmengines_checkpoint_hook_serves_our_loop(make_runner):
    changes = {
        'default_hooks.checkpoint': dict(_delete_=True, type='mmengine.CheckpointHook', interval=2),
        'train_cfg.max_epochs': 4,
    }
    whole = make_runner('whole', changes)
    whole.train()
    path = Path(whole.work_dir) / 'epoch_2.pth'
    resumed = make_runner('resumed', {**changes, 'resume': True, 'load_from': str(path)})
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_schedule_that_is_built_already_serves_our_loop(make_runner):
    runner = make_runner(changes={'train_cfg.max_epochs': 2, 'param_scheduler.warmup_epochs': 0})
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = MultiStepLR(runner.optim_wrapper, milestones=[5], by_epoch=False)
    runner.train()
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.005 / 10)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'train_dataloader.sampler.type': 'DefaultSampler'},
            r"TrainLoop needs sampler.type='GlobalBatchSampler', not DefaultSampler",
        ),
        (
            {'optim_wrapper': dict(_delete_=True, **sgd()), 'base_lr': None},
            ' StepOptimWrapper, .* OptimWrapper;',
        ),
        (
            {'optim_wrapper': dict(_delete_=True, **SEVERAL), 'base_lr': None},
            'TrainLoop .* StepOptimWrapper, .* OptimWrapperDict;',
        ),
    ],
)
def test_what_our_loop_cannot_do_is_said_in_a_line(make_runner, monkeypatch, changes, message):
    if 'constructor' in changes.get('optim_wrapper', {}):
        monkeypatch.setattr('mae.models.algorithms.mae.MAE.first', nn.Linear(1, 1), raising=False)
        monkeypatch.setattr('mae.models.algorithms.mae.MAE.second', nn.Linear(1, 1), raising=False)
    runner = make_runner(changes=changes)
    with pytest.raises(ConfigError, match=rf'^[^\n]*{message}[^\n]*$'):
        runner.train()


def test_a_base_rate_needs_our_sampler(make):
    with pytest.raises(ConfigError, match=r"^base_lr needs train_dataloader.sampler.type='Global"):
        make(base_lr=0.1).train()
