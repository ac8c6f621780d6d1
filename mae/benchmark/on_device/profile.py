"""Where the time of a pre-training step goes on the device, by kind of kernel."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch.profiler import ProfilerActivity, profile

from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.on_device.checking import BASE, Check, CheckedDevice
from mae.benchmark.ours import pretrainer, pretraining
from mae.benchmark.report import Figures

# By parts of kernels' names; the first kind that fits counts.
_KINDS = {
    'fused kernels': ('triton',),
    'attention': ('flash', 'fmha', 'attention', 'sdpa', 'softmax'),
    'products': ('gemm', 'nvjet', 'cutlass', 'xmma', 'cublas', 'splitk', '::mm', 'addmm', 'bmm'),
    'layer norm': ('layer_norm', 'layernorm', 'gammabeta'),
    'GELU': ('gelu',),
    'AdamW and norms': ('adam', 'multi_tensor', 'lpnorm', 'foreach'),
    'casts': ('bfloat16_copy', 'float_copy', '_to_copy'),
    'copies': ('copy', 'memcpy', 'memset', 'fill', 'catarray', 'index', 'gather', 'scatter'),
    'sums': ('reduce', 'sum'),
    'additions': ('add',),
}
_STEPS = 3


def checks(place: CheckedDevice) -> Iterator[Check]:
    """ViT-B at batch 256, eager and compiled."""
    yield 'eager', partial(_profile, place, compile=False)
    if not place.quick:
        yield 'compiled', partial(_profile, place, compile=True)


def _profile(place: CheckedDevice, *, compile: bool) -> Figures:
    """Milliseconds of a step by kind; `gaps` is what no kernel filled, without the profiler."""
    settings = place.settings(BASE, 256, compile=compile)
    step = pretrainer(pretraining(settings)).step
    clock = clock_of(step, settings.device)
    whole = 1e3 * alternate({'': clock}, rounds=3, steps=_STEPS, warmup=_STEPS)[''].median
    activity = ProfilerActivity.CUDA if place.on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        clock(_STEPS)
    times: dict[str, float] = {}
    launches = 0
    longest: dict[str, float] = {}
    for event in profiled.key_averages():
        here = (event.device_type.name != 'CPU') == place.on_gpu
        if event.is_user_annotation or not here:  # an annotation spans kernels of its own
            continue
        device_time = event.self_device_time_total if place.on_gpu else event.self_cpu_time_total
        milliseconds = device_time / 1e3 / _STEPS
        launches += event.count
        kind = kind_of_kernel(event.key)
        times[kind] = times.get(kind, 0.0) + milliseconds
        name = event.key[:160]
        longest[name] = longest.get(name, 0.0) + milliseconds
    return {
        'milliseconds': whole,
        'gaps': whole - sum(times.values()),
        'launches': launches // _STEPS,
        'kinds': _descending(times),
        'longest': dict(list(_descending(longest).items())[:25]),
    }


def kind_of_kernel(name: str) -> str:
    """The row of the table that a kernel belongs to."""
    lower = name.lower()
    for kind, parts in _KINDS.items():
        if any(part in lower for part in parts):
            return kind
    return 'other'


def _descending(values: Mapping[str, float]) -> dict[str, Any]:
    return dict(sorted(values.items(), key=lambda item: -item[1]))
