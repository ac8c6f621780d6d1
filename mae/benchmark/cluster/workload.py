"""What a step of a config asks of a device, as functions of the images in it.

Counted on tensors without values with PyTorch's flash attention, which a GPU has too. FLOPs, bytes
and kept activations are linear in the number of images, so two batches tell them for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from mae.benchmark.count import Tally, fake_step
from mae.benchmark.memory import kept_bytes
from mae.benchmark.ours import build_optim_wrapper
from mae.benchmark.settings import DTYPES, Settings
from mae.utils.errors import ConfigError

RECOMPUTE = ('nothing', 'cheap', 'blocks')
_SIZES = (2, 4)  # one image alone needs an operator less
_ATTENTION = 'scaled_dot_product'
_PRODUCTS = ('mm', 'convolution')


@dataclass(frozen=True)
class Linear:
    """A quantity of a batch: `fixed + each * images`."""

    fixed: float
    each: float

    @classmethod
    def through(cls, sizes: tuple[int, int], values: tuple[float, float]) -> 'Linear':
        """The line through two batches."""
        each = (values[1] - values[0]) / (sizes[1] - sizes[0])
        return cls(values[0] - each * sizes[0], each)

    def __call__(self, images: int) -> float:
        return self.fixed + self.each * images


@dataclass(frozen=True)
class StepWork:
    """A micro-batch, forward and backward.

    Attributes:
        products: FLOPs of products.
        attention: FLOPs of attention.
        products_traffic: bytes that products read and write.
        traffic: bytes of all else but attention.
        kept: bytes that autograd keeps for the backward pass.
        operators: that the host starts.
    """

    products: Linear
    attention: Linear
    products_traffic: Linear
    traffic: Linear
    kept: Linear
    operators: int


@dataclass(frozen=True)
class Workload:
    """All that a plan needs to know of a config.

    Attributes:
        parameters: of the model.
        trained: those with gradients.
        buffers: bytes.
        blocks: parameters of each transformer block.
        update_traffic: bytes that the optimizer's update reads and writes.
        works: by `recompute`.
    """

    parameters: int
    trained: int
    buffers: int
    blocks: tuple[int, ...]
    update_traffic: float
    works: Mapping[str, StepWork]

    @property
    def state(self) -> int:
        """Bytes of a checkpoint: float32 weights, and two averages of those that are trained."""
        return 4 * self.parameters + 8 * self.trained + self.buffers


def require_planned(config: Config) -> None:
    """Refuse a config that is not trained, or whose model is of another kind.

    Raises:
        ConfigError: names the config.
    """
    name = config.filename or 'the config'
    if not (config.get('train_dataloader') and config.get('optim_wrapper')):
        raise ConfigError(f'{name} describes no training, so there is nothing to plan')
    if (found := config.model['type']) not in ('MAE', 'Classifier'):
        raise ConfigError(f'{name} trains a {found}; planned are an MAE and a Classifier')
    kind = config.optim_wrapper['optimizer']['type']
    if kind != 'AdamW':
        raise ConfigError(f'{name} trains with {kind}; planned is AdamW, with its two averages')


def measure_workload(config: Config) -> Workload:
    """Count the steps of a config, for each `recompute`.

    Raises:
        ConfigError: nothing is trained by it, or another model than an `MAE` or `Classifier`.
    """
    require_planned(config)
    dtype = DTYPES['bfloat16' if config.optim_wrapper.get('amp') else 'float32']
    works, facts = {}, {}
    for recompute in RECOMPUTE:
        settings = Settings(_with(config, recompute), _SIZES[0], torch.device('cpu'), dtype)
        pair = [_count(replace(settings, batch_size=size)) for size in _SIZES]
        facts = pair[1]
        lines = {key: Linear.through(_SIZES, (pair[0][key], pair[1][key])) for key in _LINES}
        works[recompute] = StepWork(**lines, operators=int(facts['operators']))
    names = ('parameters', 'trained', 'buffers', 'blocks', 'update_traffic')
    return Workload(**{name: facts[name] for name in names}, works=works)


_LINES = ('products', 'attention', 'products_traffic', 'traffic', 'kept')


def _with(config: Config, recompute: str) -> Config:
    changed: Config = config.copy()
    for part in ('encoder', 'decoder'):
        if changed.model.get(part):
            changed.model[part].update(recompute=recompute, attention_backend='flash')
    return changed


def _count(settings: Settings) -> dict[str, Any]:
    """All figures of one step of one batch."""
    flops, tally, update = _flop_counter(), Tally(), Tally()
    losses: list[Tensor] = []
    with FakeTensorMode():
        model, forward = fake_step(settings)
        optimizer = build_optim_wrapper(settings, model).optimizer
        own = (*model.parameters(), *model.buffers())
        with flops, tally:
            kept = kept_bytes(lambda: losses.append(forward()), own)
            losses[0].backward()
        optimizer.step()  # the first makes the averages
        with update:
            optimizer.step()
    by_kind = flops.get_flop_counts()['Global']
    attention = sum(number for op, number in by_kind.items() if _ATTENTION in str(op))
    of = tally.traffic.items()
    products_traffic = sum(n for name, n in of if any(part in name for part in _PRODUCTS))
    attention_traffic = sum(number for name, number in of if _ATTENTION in name)
    return {
        'products': sum(by_kind.values()) - attention,
        'attention': attention,
        'products_traffic': products_traffic,
        'traffic': tally.traffic.total() - products_traffic - attention_traffic,
        'kept': kept,
        'operators': tally.operators.total(),
        'update_traffic': update.traffic.total(),
        'parameters': sum(p.numel() for p in model.parameters()),
        'trained': sum(p.numel() for p in model.parameters() if p.requires_grad),
        'buffers': sum(b.numel() * b.element_size() for b in model.buffers()),
        'blocks': tuple(sum(p.numel() for p in block.parameters()) for block in model.blocks()),
    }


def _flop_counter() -> FlopCounterMode:
    """PyTorch's, which does not know the CPU's kernel of flash attention."""

    def forward(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    def backward(g: Any, q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(sdpa_backward_flop_count(g, q, k, v))

    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: forward,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        },
    )
