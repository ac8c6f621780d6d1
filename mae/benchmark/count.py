"""Operators and bytes of a training step, counted on tensors without values: no GPU is needed.

What is not a product is bound by memory on a GPU, so bytes say what an operator costs there. Each
reads its inputs and writes its outputs once; views cost nothing. A compiled step needs fewer bytes,
because what is elementwise is fused.

Shapes: B images, C channels, H W pixels.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from math import prod
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mae.benchmark.fusion import Counts, count_fused
from mae.benchmark.ours import build_optim_wrapper, meta_model
from mae.benchmark.report import Report
from mae.benchmark.settings import Settings
from mae.engine.optim.weight_copies import WeightCopies
from mae.models.layers.block import draw_paths
from mae.models.masking.mask import Mask
from mae.registry import MODELS
from mae.utils.hardware import software

# Rows of the table, by parts of operators' names; the first that fits counts.
_KINDS = {
    'attention': ('scaled_dot_product', 'softmax'),
    'layer norm': ('layer_norm',),
    'GELU': ('gelu',),
    'AdamW': ('adamw',),
    'casts': ('_to_copy',),
    'products': ('mm', 'convolution'),
    'copies': ('clone', 'stack', 'cat', 'copy', 'gather', 'index', 'embedding', 'slice_backward'),
    'sums of biases': ('sum',),
    'additions': ('add',),
    'fused kernels': ('fused',),
}
_WRITTEN = ('copy_', '_foreach_copy_')  # what they change they do not read
_PIXEL_PARTS = ('target', 'loss')  # of an `MAE`
_FREE = ('empty', 'empty_like', 'new_empty', 'empty_strided', '_unsafe_view', 'detach')


class Tally(TorchDispatchMode):
    """Counts operators, and the bytes that they read and write, by name.

    Attributes:
        operators: calls of each.
        traffic: bytes of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.traffic: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not (func.is_view or func.namespace == 'prim' or name in _FREE):
            self.operators[name] += 1
            self.traffic[name] += _traffic(func, args, kwargs or {}, out)
        return out


def _traffic(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    """Bytes of what an operator reads, and of what it returns or changes in place."""
    total, name = 0, func.overloadpacket.__name__
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        changed = argument.alias_info is not None and argument.alias_info.is_write
        # `out=` is returned and only written. What is changed and not returned counts twice, but
        # for the gradients that an optimizer may change and does not.
        changed = changed and not func._schema.returns and argument.name != 'grads'
        is_read = not argument.is_out and not (number == 0 and name in _WRITTEN)
        times = int(is_read) + int(changed)
        total += times * _all_bytes(value)
    return total + _all_bytes(out)


def _all_bytes(values: Any) -> int:
    return sum(_bytes(x) for x in tree_leaves(values) if isinstance(x, Tensor))


def run(settings: Settings, *, command: str = '') -> Report:
    """Count one step of what a config trains: forward, backward, update.

    Mixing and erasing are left out, and so is what only finds steps that are not finite.

    Args:
        settings: config, batch and precision; the device is a CPU. With `compile` the blocks are
            counted as Inductor fuses them.
        command: the command line, for the report.

    Raises:
        ValueError: the config trains neither an `MAE` nor a `Classifier`.
    """
    if settings.config.model['type'] not in ('MAE', 'Classifier'):
        settings.require_training('MAE')
    settings.require_training()
    tally = count(settings)
    if settings.compile:
        fuse(tally, settings)
    kinds: dict[str, dict[str, float]] = {}
    for name, calls in (+tally.operators).items():
        row = kinds.setdefault(_kind(name), {'operators': 0, 'gigabytes': 0.0})
        row['operators'] += calls
        row['gigabytes'] += tally.traffic[name] / 1e9
    return {
        'task': 'count',
        'config': settings.name,
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'batch_size': settings.batch_size,
        'dtype': str(settings.dtype).removeprefix('torch.'),
        'compile': settings.compile,
        'operators': tally.operators.total(),
        'gigabytes': tally.traffic.total() / 1e9,
        'kinds': dict(sorted(kinds.items(), key=lambda kind: -kind[1]['gigabytes'])),
        'versions': software(),
    }


def count(settings: Settings) -> Tally:
    """The operators of a step that is not the first."""
    tally = Tally()
    with FakeTensorMode():
        model, forward = fake_step(settings)
        optimizer = build_optim_wrapper(settings, model).optimizer
        _allocate_state(optimizer)
        copies = _weight_copies(settings, model)
        with tally:
            if copies is not None:
                copies.write()
            forward().backward()
            optimizer.step()
    return tally


def _allocate_state(optimizer: torch.optim.Optimizer) -> None:
    """Take a step, as the first one also makes the moments and fills them with zeros."""
    for param in (param for group in optimizer.param_groups for param in group['params']):
        param.grad = torch.empty_like(param)
    optimizer.step()
    optimizer.zero_grad()


def _weight_copies(settings: Settings, module: nn.Module) -> WeightCopies | None:
    """As the optimizer wrapper makes them on a GPU."""
    unwanted = settings.config.optim_wrapper.get('weight_copies') is False
    if unwanted or settings.dtype == torch.float32:
        return None
    return WeightCopies.of(module, settings.dtype, required=False)


def fake_step(settings: Settings) -> tuple[Any, Callable[[], Tensor]]:
    """The model and its forward pass to the loss, without values; to be called on fake tensors."""
    model: Any = MODELS.build(settings.config.model).train()
    batch = _batch(model.encoder, settings.batch_size)

    def forward() -> Tensor:
        with settings.autocast():
            inputs = model.data_preprocessor(batch, False)
            loss: Tensor = model(**inputs, mode='loss')['loss']
        return loss

    return model, forward


def fuse(tally: Tally, settings: Settings) -> None:
    """Put fused kernels in the place of what single operators of compiled parts did."""
    model = meta_model(settings)
    for name, number in _kinds_of_parts(model).items():
        for sign, counts in ((-1, _count_alone), (1, _count_fused)):
            # Bytes are linear in the number of images: two and three of them tell those of a batch.
            calls, two = counts(settings, name, 2)
            _, three = counts(settings, name, 3)
            for kernel in calls:
                each = three[kernel] - two[kernel]
                tally.operators[kernel] += sign * number * calls[kernel]
                whole = two[kernel] + (settings.batch_size - 2) * each
                tally.traffic[kernel] += sign * number * whole


def _kinds_of_parts(model: Any) -> dict[str, int]:
    """How many blocks of the encoder, of the decoder and with few queries there are.

    Also 'target' and 'loss', if they are compiled.
    """
    kinds = {'encoder': len(model.encoder.blocks)}
    if hasattr(model, 'decoder'):
        kinds |= {'decoder': len(model.decoder.blocks) - 1, 'last': 1}
        kinds |= {name: getattr(model, name) in model.pixel_parts() for name in _PIXEL_PARTS}
    return {name: number for name, number in kinds.items() if number}


def _count_alone(settings: Settings, name: str, images: int) -> Counts:
    with FakeTensorMode():
        model: Any = MODELS.build(settings.config.model).train()
        _, call = _one_part(settings, model, name, images)
        with Tally() as tally:
            out = call()
            if out.requires_grad:
                out.backward(torch.ones_like(out))
    return tally.operators, tally.traffic


def _count_fused(settings: Settings, name: str, images: int) -> Counts:
    model: Any = meta_model(settings).train()
    part, call = _one_part(settings, model, name, images, 'cpu')
    return count_fused(part, call)


def _one_part(
    settings: Settings, model: Any, name: str, images: int, device: str | None = None
) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A part named by `_kinds_of_parts`, and its call."""
    if name in _PIXEL_PARTS:
        return _one_pixel_part(settings, model, name, images)
    return _one_block(settings, model, name, images, device)


def _one_pixel_part(
    settings: Settings, model: Any, name: str, images: int
) -> tuple[nn.Module, Callable[[], Tensor]]:
    part: nn.Module = getattr(model, name)
    L, P = model.encoder.grid_size[0] * model.encoder.grid_size[1], model.target.target_dim
    ids = torch.arange(L).expand(images, L).contiguous()
    mask = Mask(*ids.split([K := model.masker.num_keep(L), L - K], dim=1))
    patches = torch.zeros(images, L, P)
    pred = torch.zeros(images, L - K, P, dtype=settings.dtype, requires_grad=True)
    inputs = (None, patches, mask) if name == 'target' else (pred, patches[:, K:].contiguous())

    def call() -> Tensor:
        with settings.autocast():
            out: Tensor = part(*inputs)
        return out

    return part, call


def _one_block(
    settings: Settings, model: Any, name: str, images: int, device: str | None = None
) -> tuple[Any, Callable[[], Tensor]]:
    """A block, to `device` with any weights, and its call; PyTorch's kernel does attention."""
    encoder = model.encoder
    L, prefix = encoder.grid_size[0] * encoder.grid_size[1], encoder.num_prefix_tokens
    K = model.masker.num_keep(L) if hasattr(model, 'masker') else L
    part = encoder if name == 'encoder' else model.decoder
    block = part.blocks[-1]
    if device is not None:
        block.to_empty(device=device)
        block.attn.backend = 'flash'
    if (copies := _weight_copies(settings, block)) is not None:
        copies.write()
    shape = (images, (K if name == 'encoder' else L) + prefix, part.embed_dim)
    x = torch.zeros(shape, requires_grad=True)
    scales = draw_paths(part.blocks, x)[-1]

    def call() -> Tensor:
        with settings.autocast():
            out: Tensor = block(x, L - K if name == 'last' else None, scales=scales)
        return out

    return block, call


def show_counts(report: Report, console: Console | None = None) -> None:
    """Print the table."""
    way = ', compiled' * report['compile']
    title = f'{report["config"]}, batch {report["batch_size"]}, {report["dtype"]}{way}'
    table = Table('', 'operators', 'GB', title=title)
    for kind, row in report['kinds'].items():
        table.add_row(kind, f'{row["operators"]:.0f}', f'{row["gigabytes"]:.2f}')
    table.add_row('all', f'{report["operators"]}', f'{report["gigabytes"]:.2f}')
    (console or Console()).print(table)


def _batch(encoder: Any, size: int) -> dict[str, Tensor]:
    """As collated: the channels last in memory."""
    height, width = encoder.img_size
    pixels = torch.empty(size, height, width, encoder.in_channels, dtype=torch.uint8)
    numbers = torch.empty(size, dtype=torch.int64)
    facts = dict.fromkeys(('keys', 'labels', 'ids'), numbers)
    return {'inputs': pixels.permute(0, 3, 1, 2), **facts}


def _bytes(x: Tensor) -> int:
    """What lies in memory: an expanded dimension counts once."""
    sizes = zip(x.shape, x.stride(), strict=True)
    return prod(size for size, stride in sizes if stride) * x.element_size() * bool(x.numel())


def _kind(name: str) -> str:
    for kind, parts in _KINDS.items():
        if any(part in name for part in parts):
            return kind
    return 'other'
