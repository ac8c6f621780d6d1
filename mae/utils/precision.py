"""Number formats of training and evaluation, and what a device lacks for them.

Training says its own in `optim_wrapper.amp`; evaluation follows it unless `eval_amp` says another.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from mae.utils.errors import ConfigError

_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
_AMPERE = (8, 0)  # the first compute capability with bfloat16 and TF32
# NVIDIA's data sheet of the H100 SXM, without sparsity.
_COST = 'an H100 computes products at 67 TFLOP/s in float32, 495 in TF32 and 989 in bfloat16'


def dtype_of(amp: str | None, key: str, device: str) -> torch.dtype | None:
    """The type of autocast that a config names; None for float32.

    Args:
        amp: 'bfloat16', 'float16' or None.
        key: where the config says it, for messages.
        device: 'cpu' or 'cuda'.

    Raises:
        ConfigError: another name, or bfloat16 on a GPU without it.
    """
    if amp is None:
        return None
    if amp not in _DTYPES:
        raise ConfigError(f"{key} must be 'bfloat16', 'float16' or None, not {amp!r}")
    if amp == 'bfloat16' and device == 'cuda' and torch.cuda.get_device_capability() < _AMPERE:
        raise ConfigError(
            f'{key}: a {torch.cuda.get_device_name()} computes no products in bfloat16; take '
            "'float16' or None"
        )
    if amp == 'bfloat16' and device == 'cpu' and not cpu_computes_bfloat16():
        warnings.warn(
            'this CPU has no instructions for bfloat16, so its products take several times as '
            f'long as in float32: {key}=None is faster',
            stacklevel=3,
        )
    return _DTYPES[amp]


@dataclass(frozen=True)
class EvalPrecision:
    """In which type evaluation computes products, and why.

    Attributes:
        dtype: of autocast; None for float32 throughout.
        device: 'cpu' or 'cuda'.
        line: for the log; empty where there is nothing to say.
    """

    dtype: torch.dtype | None
    device: str
    line: str

    @classmethod
    def of(cls, config: Mapping[str, Any], device: str) -> 'EvalPrecision':
        """What a config says, on a device.

        A CPU without instructions for bfloat16 evaluates in float32 what was trained in bfloat16:
        that is faster and no less exact.

        Args:
            config: its `eval_amp` is 'as_trained' (default), which takes `optim_wrapper.amp`, or
                'bfloat16', 'float16' or None.
            device: 'cpu' or 'cuda'.

        Raises:
            ConfigError: as of `dtype_of`.
        """
        amp = config.get('eval_amp', 'as_trained')
        if amp != 'as_trained':
            dtype = dtype_of(amp, 'eval_amp', device)
            return cls(dtype, device, f'evaluation computes in {amp or "float32"}, see eval_amp')
        wrapper = config.get('optim_wrapper')
        amp = wrapper.get('amp') if isinstance(wrapper, Mapping) else None
        if amp is None:
            return cls(None, device, '')
        if amp == 'bfloat16' and device == 'cpu' and not cpu_computes_bfloat16():
            return cls(None, device, 'evaluation computes in float32: this CPU lacks bfloat16')
        dtype = dtype_of(amp, 'optim_wrapper.amp', device)
        return cls(dtype, device, f'evaluation computes in {amp} as training does, see eval_amp')

    @property
    def name(self) -> str:
        """Of the type: 'float32', 'bfloat16' or 'float16'."""
        return str(self.dtype or torch.float32).removeprefix('torch.')

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype is not None)


def set_matmul_precision(precision: str | None) -> str:
    """Set what a GPU computes float32 products in, for the whole process.

    Args:
        precision: 'highest' for float32, 'high' for TF32 (10 bits of mantissa instead of 23); None
            leaves what is set.

    Returns:
        A warning for the log; empty where there is nothing to warn of.

    Raises:
        ConfigError: another name, or a GPU without TF32.
    """
    key = 'env_cfg.float32_matmul_precision'
    if precision is None:
        return ''
    if precision not in ('highest', 'high'):
        raise ConfigError(f"{key} must be 'highest' or 'high', not {precision!r}")
    if not torch.cuda.is_available():
        return f'{key}={precision!r} has no effect without a GPU'
    if precision == 'high' and torch.cuda.get_device_capability() < _AMPERE:
        raise ConfigError(f"{key}='high': a {torch.cuda.get_device_name()} has no TF32")
    torch.set_float32_matmul_precision(precision)
    return ''


def cost_of_float32(amp: object) -> str:
    """What training without `amp` costs on this GPU; empty where it costs nothing."""
    if amp is not None or not torch.cuda.is_available():
        return ''
    if torch.get_float32_matmul_precision() != 'highest':
        return ''
    return (
        f'optim_wrapper.amp=None computes in float32, without the tensor cores of a GPU: {_COST}; '
        "env_cfg.float32_matmul_precision='high' takes TF32, optim_wrapper.amp='bfloat16' autocast"
    )


def cpu_computes_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions; True where that is unknown, without oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return True
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported
