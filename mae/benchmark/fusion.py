"""What Inductor makes of a part of a model: kernels, and the bytes that they read and write.

Parts are lowered for the CPU, whose fusions are about those of a GPU, and no kernel is built. This
reaches into Inductor, which has no public way to its own count.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._inductor import compile_fx
from torch._inductor.debug import DebugContext
from torch._inductor.graph import GraphLowering
from torch._inductor.utils import shape_env_from_inputs
from torch._inductor.virtualized import V

Counts = tuple[Counter[str], Counter[str]]  # calls and bytes, by name


def count_fused(part: nn.Module, call: Callable[[], Tensor]) -> Counts:
    """Kernels of a part's forward and backward pass, and their bytes.

    Args:
        part: on the CPU; it is compiled in place.
        call: calls it, in the precision of the step.
    """
    calls: Counter[str] = Counter()
    traffic: Counter[str] = Counter()
    backend = partial(compile_fx.compile_fx, inner_compile=partial(_lower, calls, traffic))
    torch._dynamo.reset()
    try:
        part.compile(backend=backend, dynamic=False)
        out = call()
        if out.requires_grad:
            out.backward(torch.ones_like(out))
    finally:
        torch._dynamo.reset()
    return calls, traffic


def _lower(
    calls: Counter[str],
    traffic: Counter[str],
    module: torch.fx.GraphModule,
    inputs: Sequence[Any],
    **_: Any,
) -> Any:
    """Lower and fuse a graph as Inductor does, count its kernels, and run it as it is."""
    compile_fx.record_original_output_strides(module)
    fake_mode = compile_fx.fake_tensor_prop(module, list(inputs))
    with V.set_fake_mode(fake_mode):
        compile_fx._recursive_post_grad_passes(module, False)
    graph = GraphLowering(module, shape_env=shape_env_from_inputs(inputs))
    with V.set_debug_handler(DebugContext()), V.set_graph_handler(graph):  # noqa: SIM117
        with V.set_fake_mode(fake_mode), V.set_real_inputs(inputs):
            graph.run(*inputs)
            graph._update_scheduler()
            for node, words in graph.count_bytes()[1]:
                name = str(getattr(node.node, 'python_kernel_name', None) or 'fused')
                calls[name] += 1
                traffic[name] += 4 * words
    return make_boxed_func(module.forward)
