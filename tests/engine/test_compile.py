import logging
import shutil
import socket
import warnings

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.parallel import DistributedDataParallel

from mae.engine import runner as runner_module
from mae.engine.compile import compile_blocks, compiled_parts, without_recompiling
from mae.models.losses import MaskedMSELoss
from mae.models.masking.mask import Mask
from mae.models.targets import PixelTarget
from mae.registry import MODELS
from mae.utils.errors import ConfigError
from tests.engine.conftest import MAE
from tests.forked import forked

# Traces and differentiates like the default, but needs no C++ compiler and no seconds for it.
TRACED = dict(backend='aot_eager')


class Graphs(Hook):
    """The loss of each step, and how many graphs have been compiled when it is done.

    Beside them the names of the weights in the checkpoint.
    """

    def __init__(self):
        self.losses, self.graphs, self.names = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))
        self.graphs.append(counters['stats']['unique_graphs'])

    def before_save_checkpoint(self, runner, checkpoint):
        self.names = list(checkpoint['state_dict'])


def run(make_runner, name, changes, classify=False):
    torch._dynamo.reset()
    counters.clear()
    hook = Graphs()
    runner = make_runner(name, {'train_cfg.max_epochs': 2, **changes}, classify)
    runner.register_hook(hook)
    runner.train()
    return hook


@forked
def test_same_losses_and_names_and_no_recompilation(make_runner):
    plain = run(make_runner, 'plain', {})
    compiled = run(make_runner, 'compiled', {'compile': TRACED})
    assert compiled.names == plain.names != []
    assert plain.graphs[-1] == 0
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-5)
    # The trial of the compiler; the encoder's blocks, the decoder's one, of fewer queries; target
    # and loss.
    assert compiled.graphs[0] == 5
    assert set(compiled.graphs) == {compiled.graphs[0]}


# Its kernels take a C++ compiler and half a minute, so that one run stands for all.
INDUCTOR = pytest.param(
    True, 'blocks', False, marks=pytest.mark.skipif(not shutil.which('g++'), reason='no compiler')
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ('options', 'recompute', 'classify'),
    [
        INDUCTOR,
        (TRACED, 'blocks', False),
        (TRACED, 'blocks', True),
        (TRACED, 'cheap', False),
        (TRACED, 'cheap', True),
    ],
)
@forked
def test_the_same_losses_with_what_is_computed_again(make_runner, options, recompute, classify):
    """Also where blocks draw the images they leave out, which is drawn again as it was."""
    parts = ('encoder',) if classify else ('encoder', 'decoder')
    changes = {f'model.{part}.recompute': recompute for part in parts}
    usual = {
        'model.encoder.drop_path_rate': 0.5,
        'param_scheduler.warmup_epochs': 0.4,
        'train_cfg.max_epochs': 1,
    }
    kept = run(make_runner, 'kept', usual, classify)
    changes |= usual
    plain = run(make_runner, 'plain', changes, classify)
    compiled = run(make_runner, 'compiled', {**changes, 'compile': options}, classify)
    assert set(compiled.graphs) == {2 if classify else 5}  # one is the trial of the compiler
    assert len(plain.losses) == 5
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-5)
    assert plain.losses == pytest.approx(kept.losses, rel=1e-5)


@forked
def test_all_drop_path_rates_share_a_graph(make_runner):
    # Validation, which has shapes of its own, comes after the last step.
    changes = {'compile': TRACED, 'train_cfg.val_interval': 2}
    hook = run(make_runner, 'classifier', changes, classify=True)
    assert set(hook.graphs) == {2}  # one is the trial of the compiler


def test_only_plain_parts_of_pixels_are_compiled_with_the_blocks():
    model = MODELS.build(MAE)
    assert compiled_parts(model) == [*model.blocks(), model.target, model.loss]

    class Watched(type(model.target)):
        pass

    model.target = Watched(patch_size=4, in_channels=1)
    assert compiled_parts(model) == [*model.blocks(), model.loss]


@forked
def test_target_and_loss_are_the_same_compiled():
    torch._dynamo.reset()
    torch.manual_seed(0)
    ids = torch.stack([torch.randperm(9) for _ in range(4)])
    mask, patches = Mask(ids[:, :3], ids[:, 3:]), torch.randn(4, 9, 48)
    pred = torch.randn(4, 6, 48, dtype=torch.bfloat16, requires_grad=True)
    results = []
    for compiled in (False, True):
        target, loss = PixelTarget(patch_size=4, in_channels=3), MaskedMSELoss()
        if compiled:
            assert compile_blocks([nn.Linear(2, 2), target, loss], TRACED)
        with torch.autocast('cpu', torch.bfloat16):
            goal = target(None, patches, mask)
            each = loss(pred, goal)
        results.append((goal, each, *torch.autograd.grad(each.sum(), pred)))
    for here, there in zip(*results, strict=True):
        assert here.dtype == there.dtype
        torch.testing.assert_close(here, there)


def test_off_by_default(make_runner):
    runner = make_runner('off', {'train_cfg.max_epochs': 2})
    runner.train()
    assert not any(block._compiled_call_impl for block in runner.bare_model.blocks())


@forked
def test_without_a_compiler_it_warns_once_and_trains(make_runner, monkeypatch, tmp_path):
    torch._dynamo.reset()
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', (None, str(tmp_path / 'no-compiler')))
    monkeypatch.setattr('torch._inductor.config.force_disable_caches', True)
    runner = make_runner('none', {'compile': True, 'train_cfg.max_epochs': 2})
    with pytest.warns(UserWarning, match=r'compile has no effect: .*working C') as caught:
        runner.train()
    assert sum('compile has no effect' in str(w.message) for w in caught) == 1
    assert runner.iter == 10


@pytest.mark.parametrize('options', [None, False])
def test_nothing_asked_nothing_done(options):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not compile_blocks([nn.Linear(2, 2)], options)


def test_no_blocks():
    with pytest.warns(UserWarning, match='names no blocks'):
        assert not compile_blocks([], options=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mode': 'fast'}, r"^compile.mode must be one of default, .*, not 'fast'$"),
        ({'backend': 'indutor'}, r"^compile.backend must be one of .*inductor.*, not 'indutor'$"),
        ({'fulgraph': True}, r'^compile.fulgraph: .* no such argument; did you mean compile.full'),
        ({'mode': 'reduce-overhead'}, r"^compile.mode='reduce-overhead' records CUDA graphs"),
        ({'mode': 'max-autotune'}, r"^compile.mode='max-autotune' records CUDA graphs"),
        ({'backend': 'cudagraphs'}, r"^compile.backend='cudagraphs' records CUDA graphs"),
        ({'options': {'triton.cudagraphs': True}}, r'^compile.options=.* records CUDA graphs'),
        ({'mode': ['default']}, r"^compile.mode must be one of default, .*, not \['default'\]$"),
        ({'backend': ['inductor']}, r"^compile.backend must be .*, not \['inductor'\]$"),
        ({'backend': 3}, r'^compile.backend must be one of .*, not 3$'),
        ({'dynamic': 'yes'}, r"^compile.dynamic must be True or False, not 'yes'$"),
        ({'fullgraph': 3}, r'^compile.fullgraph must be True or False, not 3$'),
        ({'options': [1]}, r'^compile.options must be a dict of options, not \[1\]$'),
        ({'options': {'max_autotun': True}}, r"no option 'max_autotun'; did you mean compile.opt"),
        ({'options': {'max_autotune': 'x'}}, r'^compile.options.max_autotune must be True or Fal'),
        (
            {'mode': 'default', 'options': {'max_autotune': True}},
            r'^compile takes mode or options, not both',
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_a_line(options, message):
    block = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=message):
        compile_blocks([block], options)
    assert block._compiled_call_impl is None


@pytest.mark.parametrize(
    ('gpu', 'switch', 'target', 'expected'),
    [
        (False, {}, 'train_step', False),
        (True, {}, 'train_step', True),
        (True, {'compile': False}, 'train_step', False),
        (True, {}, 'test_step', False),  # would take longer than it saves
        (True, {'compile': True}, 'test_step', True),
        (False, {'compile': True}, 'train_step', True),
    ],
)
def test_training_on_a_gpu_compiles_by_default(
    make_runner, monkeypatch, gpu, switch, target, expected
):
    asked = []
    runner = make_runner(changes=switch)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(runner_module, 'compile_blocks', lambda _, options: asked.append(options))
    runner._maybe_compile(target)
    assert asked == [expected]


def test_the_log_says_what_compilation_took(make_runner, monkeypatch):
    monkeypatch.setattr(runner_module, 'compile_blocks', lambda _, options: True)
    runner = make_runner(changes={'compile': True, 'train_cfg.max_epochs': 2})
    runner.train()
    (handler,) = [h for h in runner.logger.handlers if isinstance(h, logging.FileHandler)]
    with open(handler.baseFilename) as file:
        log = file.read()
    assert 'blocks will be compiled in the first step' in log
    assert log.count('compiled: the first step took ') == 1


class Toy(nn.Module):
    """Two blocks, each of two layers larger than a bucket of the all-reduce."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(600, 600), nn.GELU(), nn.Linear(600, 600)) for _ in range(2)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def graphs_of(sizes, wrap=lambda model: model, calm=False, cut=False):
    """Number of graphs that a back-end is given in passes with batches of these sizes."""
    torch._dynamo.reset()
    graphs = []

    def record(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model = Toy()
    assert compile_blocks(model.blocks, {'backend': record})
    if cut:
        torch._dynamo.config.optimize_ddp = True  # torch's default
    graphs.clear()  # of the trial
    model, last = wrap(model), 0
    for size in sizes:
        with without_recompiling(calm and size < last):
            model(torch.ones(size, 600, requires_grad=True)).sum().backward()
        last = size
    return len(graphs)


@forked
def test_as_many_graphs_with_ddp_as_without():
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        port = place.getsockname()[1]
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=0, world_size=1)

    def wrap(model):
        return DistributedDataParallel(model, bucket_cap_mb=1, gradient_as_bucket_view=True)

    alone = graphs_of([4, 4])
    assert graphs_of([4, 4], wrap) == alone
    assert graphs_of([4, 4], wrap, cut=True) > alone


@forked
def test_a_last_smaller_batch_compiles_nothing():
    assert graphs_of([8, 8]) == 1
    assert graphs_of([8, 8, 7, 8, 8, 7]) == 2
    assert graphs_of([8, 8, 7, 8, 8, 7], calm=True) == 1


@forked
def test_validation_with_a_last_smaller_batch(make_runner):
    """50 images in batches of 32: the 18 run as they are."""
    runs = {}
    for name, size in (('whole', 25), ('rest', 32)):
        changes = {'compile': TRACED, 'train_cfg.max_epochs': 2, 'val_dataloader.batch_size': size}
        run(make_runner, name, changes, classify=True)
        runs[name] = counters['stats']['unique_graphs']
    assert runs['rest'] == runs['whole']
