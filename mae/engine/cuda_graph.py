"""`cuda_graph`: forward and backward pass of a step, recorded once and replayed in every step.

The host then launches one graph instead of about 1,000 kernels, which small batches wait for. A
graph reads and writes fixed addresses: each batch is copied to where the first one lay, and
gradients stay where they were. The update is left out. It takes few kernels, and its learning rate,
clipping and the log are the host's.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mae.utils.errors import ConfigError

if TYPE_CHECKING:  # the runner imports this file
    from mae.engine.runner import Runner

Outputs = dict[str, Tensor]
# Records a function without arguments: what replays it, and its outputs, which a replay overwrites.
Record = Callable[[Callable[[], Outputs]], tuple[Callable[[], object], Outputs]]

_WARMUP = 3  # calls before: kernels are chosen, blocks compiled, memory allocated


def record_graph(function: Callable[[], Outputs]) -> tuple[Callable[[], object], Outputs]:
    """Record what `function` launches on the current GPU; it is called before, too."""
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(_WARMUP):
            function()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # The thread that pins the next batch may allocate meanwhile.
    with torch.cuda.graph(graph, capture_error_mode='thread_local'):
        outputs = function()
    return graph.replay, outputs


class GraphedStep:
    """A `train_step` whose forward and backward pass are recorded with the first batch.

    Args:
        model: without a wrapper for distributed training.
        record: another way to record, for tests.
    """

    def __init__(self, model: Any, record: Record = record_graph) -> None:
        self._model = model
        self._record = record
        self._inputs: dict[str, Tensor] = {}
        self._outputs: Outputs = {}
        self._replay: Callable[[], object] | None = None

    def __call__(self, batch: Mapping[str, Any], optim_wrapper: Any) -> Outputs:
        """One step of one micro-batch; its losses by name, as `train_step` returns them.

        Args:
            batch: as collated; its tensors have the shapes and types of the first batch.
            optim_wrapper: a `StepOptimWrapper` that has begun the step.

        Raises:
            ConfigError: other shapes or types, or a module with a hook, which a replay would not
                call.
        """
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        if self._replay is None:
            _refuse_module_hooks(self._model)
            device = next(self._model.parameters()).device
            self._inputs = {name: x.to(device, copy=True) for name, x in tensors.items()}
            self._replay, self._outputs = self._record(lambda: self._passes(optim_wrapper))
        _check_shapes(tensors, self._inputs)
        for name, buffer in self._inputs.items():
            buffer.copy_(tensors[name], non_blocking=True)
        self._replay()
        outputs = {name: value.clone() for name, value in self._outputs.items()}
        optim_wrapper.update_by_gradients(outputs['loss'])
        return outputs

    def _passes(self, optim_wrapper: Any) -> Outputs:
        """Forward and backward pass of what lies in the input buffers, to new gradients."""
        model = self._model
        model.zero_grad(set_to_none=True)
        optim_wrapper.begin_step(optim_wrapper.loss_weights)
        with optim_wrapper.optim_context(model):
            batch = model.data_preprocessor(dict(self._inputs), True)
            losses = model(**batch, mode='loss')
        loss, logs = model.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(loss))
        return {name: value.detach() for name, value in logs.items()}


def check_recordable(runner: 'Runner') -> None:
    """Refuse a run whose steps a graph would not repeat.

    Args:
        runner: with its loop, its optimizer wrapper and its hooks.

    Raises:
        ConfigError: says what stands in the way, and what would not.
    """
    if (reason := next(_obstacles(runner), None)) is not None:
        raise ConfigError(f'cuda_graph=True: {reason}')


def require_gpu(*, distributed: bool) -> None:
    """Refuse `cuda_graph=True` on a CPU, and in several processes.

    Raises:
        ConfigError: says which.
    """
    if not torch.cuda.is_available():
        raise ConfigError('cuda_graph=True needs a GPU, and torch sees none')
    if distributed:
        raise ConfigError(
            'cuda_graph=True works in one process without a launcher: the all-reduce of gradients '
            'is not recorded'
        )


def _obstacles(runner: 'Runner') -> Iterator[str]:
    if not runner.is_exact:
        yield "it needs train_cfg.type='TrainLoop'"
        return
    sampler, model, cfg = runner.train_dataloader.batch_sampler, runner.bare_model, runner.cfg
    if (n := sampler.accumulation) > 1:
        yield (
            f'a step of {sampler.global_batch_size} samples has {n} micro-batches, and only one '
            'can be recorded: raise train_dataloader.batch_size or lower global_batch_size'
        )
    last = sampler.step_size(sampler.steps_per_epoch - 1)
    if last != sampler.global_batch_size:
        yield (
            f'the last step of an epoch has {last} samples, the others '
            f'{sampler.global_batch_size}: set train_dataloader.sampler.drop_last=True'
        )
    if changing := [hook for hook in runner.hooks if getattr(hook, 'changes_shapes', False)]:
        yield f'{type(changing[0]).__name__} changes the shape of images during the run'
    if not hasattr(model, 'work_on_host'):
        yield f'a step of a {type(model).__name__} also works on the host, where labels are checked'
    elif (work := model.work_on_host()) is not None:
        yield f'{work} on the host in each step, which a graph would not repeat'
    if runner.optim_wrapper.is_scaled:
        yield "optim_wrapper.amp='float16' has a gradient scaler; take 'bfloat16' or None"
    if cfg.get('activation_checkpointing'):
        yield 'activation_checkpointing asks for random states; take model.encoder.recompute'


def _refuse_module_hooks(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kinds = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
        if any(getattr(module, kind) for kind in kinds):
            raise ConfigError(
                f'cuda_graph=True: {name or type(model).__name__} has a forward or backward hook, '
                'which a replayed graph does not call'
            )
    for name, param in model.named_parameters():
        if param._backward_hooks or getattr(param, '_post_accumulate_grad_hooks', None):
            raise ConfigError(
                f'cuda_graph=True: {name} has a hook for its gradient, which a replayed graph does '
                'not call'
            )


def _check_shapes(found: Mapping[str, Tensor], recorded: Mapping[str, Tensor]) -> None:
    """Raises ConfigError unless a batch has the tensors, shapes and types of the recorded one."""
    for name in recorded.keys() | found.keys():
        here, there = _described(found.get(name)), _described(recorded.get(name))
        if here != there:
            raise ConfigError(
                f'cuda_graph=True: {name} of a batch is {here}, and was {there} when the step was '
                'recorded; all batches need the same shapes'
            )


def _described(value: Tensor | None) -> str:
    if value is None:
        return 'missing'
    return f'{str(value.dtype).removeprefix("torch.")} {tuple(value.shape)}'
