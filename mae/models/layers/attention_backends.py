"""Which kernel computes attention: by a table of what was measured, or as a config states.

`tools/benchmark.py attention` measures all of them at the shapes of a model.

Shapes: B images, H heads, N keys, Q queries, d width of a head.
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# 'products' are our own, see `attention`; 'auto' asks the table. The others are PyTorch's kernels.
Backend = Literal['auto', 'products', 'flash', 'cudnn', 'efficient', 'math']

_KERNELS = {
    'flash': SDPBackend.FLASH_ATTENTION,
    'cudnn': SDPBackend.CUDNN_ATTENTION,
    'efficient': SDPBackend.EFFICIENT_ATTENTION,
    'math': SDPBackend.MATH,
}
_ON_A_CPU = ('products', 'flash', 'math')
_DETERMINISTIC = ('products', 'flash', 'math')  # in the backward pass on a GPU, if told to be

_AVX512 = torch.backends.cpu.get_cpu_capability().startswith('AVX512')


class Measured(NamedTuple):
    """The fastest backend of a range of shapes, forward and backward.

    Attributes:
        device: 'cpu', 'cpu-avx512', or a GPU by its compute capability, such as 'sm90'.
        dtype: of queries, keys and values.
        head_dim: largest d; None for any.
        length: largest N; None for any.
        backend: the fastest one.
    """

    device: str
    dtype: torch.dtype
    head_dim: int | None
    length: int | None
    backend: Backend


# The first row that fits is taken; without one PyTorch chooses by itself. AVX-512: products take
# 1/1.5 to 1/4.9 of the kernel's time in bfloat16 at every length, and less in float32 up to 101
# tokens; at 130 and more the kernel wins. AVX2: the kernel takes .25 to .9 of the time of products
# at 5 to 197 tokens (in float32 at 101 tokens 1.2). No GPU has been measured yet.
TABLE = (
    Measured('cpu-avx512', torch.bfloat16, None, None, 'products'),
    Measured('cpu-avx512', torch.float32, None, 128, 'products'),
)


def check_backend(backend: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: lists the known ones.
    """
    if backend not in get_args(Backend):
        known = ', '.join(get_args(Backend))
        raise ValueError(f'attention_backend must be one of {known}, not {backend!r}')


def choose_backend(backend: Backend, keys: Tensor, head_dim: int) -> tuple[Backend, ...]:
    """Names to choose among, which is PyTorch's to do if they are several.

    Args:
        backend: as stated; 'auto' looks the shape up.
        keys: (B, N, ...), of the type and on the device of all.
        head_dim: d.

    Raises:
        ValueError: the device does not have it, or it is not deterministic and must be.
    """
    on_cpu = keys.device.type == 'cpu'
    deterministic = not on_cpu and torch.are_deterministic_algorithms_enabled()
    if backend == 'auto':
        found = _fastest(keys, head_dim)
        if found is not None and not (deterministic and found not in _DETERMINISTIC):
            return (found,)
        # Of the others, cuDNN leaves by itself, and 'efficient' would be an error.
        return ('flash', 'math') if deterministic else ('auto',)
    if on_cpu and backend not in _ON_A_CPU:
        raise ValueError(
            f'attention_backend={backend!r} needs a GPU; on a CPU there are {", ".join(_ON_A_CPU)}'
        )
    if deterministic and backend not in _DETERMINISTIC:
        raise ValueError(
            f'attention_backend={backend!r} is not deterministic in the backward pass, as '
            f'randomness.deterministic=True requires: take {", ".join(_DETERMINISTIC)} or auto'
        )
    return (backend,)


def try_backend(backend: Backend, head_dim: int, device: torch.device, dtype: torch.dtype) -> None:
    """Compute a little with it: compiled blocks could not say in a line what is missing.

    Raises:
        ValueError: the device does not have it, or it does not take this type or width.
    """
    heads = torch.zeros(1, 1, 8, head_dim, device=device, dtype=dtype)
    chosen = choose_backend(backend, heads, head_dim)
    if chosen != ('products',):
        kernel_attention(heads, heads, heads, chosen)


def kernel_attention(q: Tensor, k: Tensor, v: Tensor, chosen: tuple[Backend, ...]) -> Tensor:
    """Attention (B, H, Q, d) by one of PyTorch's kernels.

    Raises:
        ValueError: none of those chosen takes these tensors.
    """
    if chosen == ('auto',):
        return F.scaled_dot_product_attention(q, k, v)
    with sdpa_kernel([_KERNELS[name] for name in chosen]):
        if torch.compiler.is_compiling():
            return F.scaled_dot_product_attention(q, k, v)
        try:
            return F.scaled_dot_product_attention(q, k, v)
        except RuntimeError as error:
            if 'No available kernel' not in str(error):
                raise
            raise ValueError(
                f'attention_backend={"/".join(chosen)} does not take {q.dtype} with heads of width '
                f'{q.shape[-1]} on {q.device}: leave it at auto'
            ) from error


def _fastest(keys: Tensor, head_dim: int) -> Backend | None:
    device = _device_of(keys)
    for row in TABLE:
        if (
            (row.device, row.dtype) == (device, keys.dtype)
            and head_dim <= (row.head_dim or head_dim)
            and keys.shape[1] <= (row.length or keys.shape[1])
        ):
            return row.backend
    return None


def _device_of(keys: Tensor) -> str:
    """As in `Measured.device`; '' where nothing is trained or computed."""
    # In a forward pass alone, the kernel takes .2 to .85 of the time of products in both types at
    # 17 to 257 tokens. On tensors without values there is nothing to gain from products.
    trains = torch.is_grad_enabled() and keys.requires_grad
    if not trains or isinstance(keys, FakeTensor):
        return ''
    if keys.is_cuda:
        major, minor = torch.cuda.get_device_capability(keys.device)
        return f'sm{major}{minor}'
    return 'cpu-avx512' if _AVX512 and keys.device.type == 'cpu' else keys.device.type
