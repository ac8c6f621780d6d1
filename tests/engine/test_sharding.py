"""`parallel.type='fsdp'`: the numbers of DDP, and all that a run meets, with weights in parts."""

import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch._dynamo.utils import counters

from mae.engine.optim.lars import LARS
from mae.engine.optim.wrapper import StepOptimWrapper
from mae.engine.sharding import Parallelism, changed_rounding, check_shardable, shard
from mae.fault_tolerance.checkpoint import load_sharded
from mae.registry import HOOKS
from mae.utils.digest import tensor_sha256, weights_sha256
from mae.utils.errors import ConfigError
from mae.utils.sharded import is_sharded
from tests.engine.processes import Interrupt, losses
from tests.forked import forked

FSDP = {'parallel': dict(type='fsdp')}


def same(this, that):
    """Whether nested dicts and lists of tensors are equal, bit for bit."""
    if isinstance(this, torch.Tensor):
        return torch.equal(this, that)
    if isinstance(this, dict):
        return this.keys() == that.keys() and all(same(this[key], that[key]) for key in this)
    if isinstance(this, list | tuple):
        return len(this) == len(that) and all(map(same, this, that))
    return this == that


def state(path):
    """A checkpoint but for what is said of the run; its hash is that of the weights as saved.

    Of a sharded run it is a folder of parts, unless it is the best.
    """
    folder = path.with_suffix('.dcp')
    found = load_sharded(folder) if folder.exists() else torch.load(path, weights_only=True)
    found.pop('proof', None)
    return {key: value for key, value in found.items() if key != 'meta'}


def test_the_numbers_of_ddp(together, tmp_path):
    """Over two micro-batches, of which the first is not reduced, with one kernel for the update."""
    changes = {'train_dataloader.batch_size': 8, 'optim_wrapper.optimizer.fused': True}
    found = together('fsdp', changes={**changes, **FSDP})
    assert found == together('ddp', changes=changes)
    assert found[:3] == (0, 10, 0)
    expected = state(tmp_path / 'ddp/iter_10.pth')
    assert same(state(tmp_path / 'fsdp/iter_10.pth'), expected)
    assert weights_sha256(expected['state_dict']) == found[-1]


def test_clipped_and_adapted_as_in_ddp(together, tmp_path):
    """Norms are sums in another order, so equal to rounding alone."""
    changes = {
        'optim_wrapper.clip_grad': dict(max_norm=0.01),
        'optim_wrapper.optimizer': dict(type='LARS', weight_decay=1e-4, _delete_=True),
    }
    assert together('fsdp', changes={**changes, **FSDP})[:3] == (0, 10, 0)
    assert together('ddp', changes=changes)[:3] == (0, 10, 0)
    assert losses(tmp_path / 'fsdp') == pytest.approx(losses(tmp_path / 'ddp'), rel=1e-4)


@HOOKS.register_module()
class NoteStart(Hook):
    """Writes down the hash of the weights from which a run starts."""

    def before_train(self, runner):
        found = weights_sha256(runner.bare_model.state_dict())
        if runner.rank == 0:
            Path(runner.work_dir, 'start').write_text(found)


def test_resumed_by_any_number_of_processes(together, tmp_path):
    """Sharded over two and one; whole in two; in two copies of two parts.

    `test_sharded_world.py` has a checkpoint of two loaded by three processes.
    """
    assert together('one', world=1)[:3] == (0, 10, 0)
    copies = {'parallel': dict(type='fsdp', shard_size=2, reshard_after_forward=False)}
    noted = {'custom_hooks': [dict(type='NoteStart')]}
    step, digest = 0, None
    for world, parallel in [(2, FSDP), (1, FSDP), (2, {}), (4, copies)]:
        hook = Interrupt('after_train_iter', step) if world < 4 else None
        changes = {**parallel, **noted, 'resume': step > 0}
        code, step, _, found = together('run', hook, changes, world=world)
        assert code == (143 if hook else 0)
        if digest is not None:
            assert (tmp_path / 'run/start').read_text() == digest
        digest = found
        saved = state(tmp_path / f'run/iter_{step}.pth')
        assert weights_sha256(saved['state_dict']) == digest
    assert step == 10
    assert losses(tmp_path / 'run') == pytest.approx(losses(tmp_path / 'one'), rel=1e-5)


@HOOKS.register_module()
class NoteFeatures(Hook):
    """Writes down the hash of features, as k-NN computes them; nothing runs forward before."""

    def before_train(self, runner):
        images = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
        with torch.inference_mode(), runner.eval_context(2):
            found = runner.bare_model.extract_features(images)
        if runner.rank == 0:
            Path(runner.work_dir, 'features').write_text(tensor_sha256(found))


def test_averages_and_validation(together, tmp_path):
    """All that saves or reads weights beside the training, at times that one process decides."""
    changes = {
        'custom_hooks': [dict(type='EMAHook'), dict(type='NoteFeatures')],
        'default_hooks.checkpoint': dict(interval=1e-6, by='minutes', save_best='top1'),
    }
    expected = together('ddp', None, changes, classify=True)
    changes = {**changes, **FSDP}
    assert together('fsdp', Interrupt('after_val_iter', 5), changes, classify=True)[:2] == (143, 5)
    features = {(tmp_path / name / 'features').read_text() for name in ('ddp', 'fsdp')}
    assert len(features) == 1
    assert together('fsdp', None, {**changes, 'resume': True}, classify=True) == expected
    for name in ('best.pth', 'iter_10.pth'):
        assert same(state(tmp_path / 'fsdp' / name), state(tmp_path / 'ddp' / name)), name


BFLOAT16 = {
    'optim_wrapper.amp': 'bfloat16',
    'model.encoder.bf16_residual': True,
}


def test_gathered_in_bfloat16(together, tmp_path):
    changes = {**BFLOAT16, 'model.decoder.bf16_residual': True}
    expected = together('ddp', changes=changes)
    parallel = dict(type='fsdp', param_dtype='bfloat16', reduce_dtype='bfloat16')
    found = together('fsdp', changes={**changes, 'parallel': parallel})
    assert found[:3] == expected[:3]
    assert found[-1] != expected[-1]
    assert losses(tmp_path / 'fsdp') == pytest.approx(losses(tmp_path / 'ddp'), rel=0.01)
    weights = state(tmp_path / 'fsdp/iter_10.pth')['state_dict'].values()
    assert {weight.dtype for weight in weights} == {torch.float32}


@HOOKS.register_module()
class NoteGraphs(Hook):
    """Writes down how many graphs a run has compiled."""

    def before_train(self, runner):
        counters.clear()

    def after_train(self, runner):
        if runner.rank == 0:
            found = counters['stats']['unique_graphs']
            Path(runner.work_dir, 'graphs').write_text(f'{found}')


def test_compiled(together, tmp_path):
    """The blocks of the encoder share their code; the decoder, target and loss have theirs."""
    noted = {'custom_hooks': [dict(type='NoteGraphs')]}
    changes = {**FSDP, **noted, 'compile': dict(backend='aot_eager')}
    assert together('compiled', changes=changes)[:3] == (0, 10, 0)
    assert together('plain', changes=FSDP)[:3] == (0, 10, 0)
    assert (tmp_path / 'compiled/graphs').read_text() == '4'
    expected = losses(tmp_path / 'plain')
    assert losses(tmp_path / 'compiled') == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('optimizer', ['AdamW', 'LARS'])
@forked
def test_a_step_that_the_device_skips(make_runner, optimizer):
    """As on a GPU, where the optimizer reads on the device whether to skip."""
    model = make_runner().bare_model
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    shard(model, Parallelism(type='fsdp'))
    assert is_sharded(model)
    params = [param for param in model.parameters() if param.requires_grad]
    built = LARS(params, 0.1) if optimizer == 'LARS' else torch.optim.AdamW(params, fused=True)
    wrapper = StepOptimWrapper(built, clip_grad=dict(max_norm=1.0))
    wrapper.skips_on_device = True
    for step, factor in enumerate([1.0, torch.nan, 1.0]):
        before = weights_sha256(model.state_dict())
        images, keys = torch.ones(2, 1, 8, 8), torch.arange(2)
        wrapper.begin_step([1.0])
        with wrapper.optim_context(model):
            loss = model(images, keys)['loss'] * factor
        wrapper.update_params(loss)
        assert bool(wrapper.skipped) == (step == 1)
        assert (weights_sha256(model.state_dict()) == before) == (step == 1)


PROBE = {
    'model.head.norm': 'batch',
    'model.trainable_blocks': 0,
    'model.encoder.trainable_pos': False,
    'optim_wrapper.paramwise_cfg': None,
}
HALF = {'parallel': dict(type='fsdp', param_dtype='bfloat16')}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (PROBE, "parallel.type='fsdp': model.head.fc_norm is a BatchNorm1d, whose statistics"),
        (
            {'parallel': dict(type='fsdp', shard_size=4)},
            'parallel.shard_size=4 does not divide 6 process(es); 2 or 3 or 6 would',
        ),
        ({'model_wrapper_cfg': dict(type='MMDistributedDataParallel')}, 'leave out model_wrapper'),
        (HALF, "parallel.param_dtype='bfloat16' needs the same optim_wrapper.amp, not None"),
        (
            {**HALF, 'optim_wrapper.amp': 'bfloat16'},
            "'bfloat16' on a CPU, whose LayerNorm takes no float32 with such weights: needs",
        ),
        (
            {**HALF, **BFLOAT16, 'eval_amp': None},
            "needs evaluation in it, not in float32; set eval_amp='bfloat16'",
        ),
    ],
)
def test_what_does_not_go_with_it(make_runner, changes, message):
    runner = make_runner(changes=changes, classify=True)
    parallel = Parallelism.of({**FSDP, **runner.cfg})
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_shardable(runner.bare_model, parallel, runner.cfg, 6)


def test_a_model_without_blocks():
    with pytest.raises(ConfigError, match='a Linear names none'):
        check_shardable(torch.nn.Linear(2, 3), Parallelism(type='fsdp'), {}, 2)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('type', 'fsdp2', "parallel.type must be 'ddp' or 'fsdp', not 'fsdp2'"),
        ('shard_sise', 2, r'parallel.shard_sise: .*did you mean parallel.shard_size\?'),
        ('shard_size', 1, 'parallel.shard_size must be None or a whole number of at least 2'),
        ('reshard_after_forward', 8, 'parallel.reshard_after_forward must be a bool, not 8'),
        ('param_dtype', 'half', "parallel.param_dtype must be None, 'bfloat16' or 'float16'"),
        (2, 3, 'parallel.2: there is no such key'),
        ('reduce_dtype', ['float32'], 'parallel.reduce_dtype must be one of float32, bfloat16'),
        ('reduce_dtype', 'bf16', 'parallel.reduce_dtype must be one of float32, bfloat16'),
    ],
)
def test_unknown_keys_and_values(make_runner, key, value, message):
    with pytest.raises(ConfigError, match=message):
        make_runner(changes={'parallel': {'type': 'fsdp', key: value}})


def test_what_has_no_effect_is_said(make_runner, capfd):
    make_runner('one', FSDP)
    make_runner('two', {'parallel': dict(type='ddp', shard_size=8)})
    said = capfd.readouterr()
    said = said.out + said.err
    assert "parallel.type='fsdp' has no effect without a launcher" in said
    assert "parallel.shard_size has no effect with parallel.type='ddp'" in said


def test_another_rounding_is_told_of():
    sums = {'parallel': dict(type='fsdp', reduce_dtype='bfloat16')}
    assert changed_rounding({}, FSDP) == changed_rounding(FSDP, {}) == []
    (line,) = changed_rounding({}, sums)
    assert line.startswith('parallel.reduce_dtype was float32 and is bfloat16 now')
    assert len(changed_rounding(HALF, sums)) == 2
    assert changed_rounding(sums, {'parallel': dict(sums['parallel'], type='ddp')}) != []
