"""Tensors of which each process holds a part, under `parallel.type='fsdp'`, and whole ones.

A plain tensor is taken as it is, so that callers need not know how a run is laid out.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(model: nn.Module) -> bool:
    """Whether each process holds a part of the weights; its state dict has `DTensor`s then."""
    return isinstance(model, FSDPModule)


def reshard(model: nn.Module) -> None:
    """Let `parameters()` of a model be the parts again, which a forward pass may leave whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensor: Tensor) -> Tensor:
    """The part of this process, in the memory of `tensor`."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """The whole tensor, in each process; all processes must call it for the same one at a time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather(value: object) -> None:
    """Take part while another process calls `full` for each tensor of nested dicts and lists.

    That process goes through them in the same order.
    """
    if isinstance(value, DTensor):
        full(value)
    elif isinstance(value, dict):
        for item in value.values():
            gather(item)
    elif isinstance(value, list | tuple):
        for item in value:
            gather(item)


def like(whole: Tensor, tensor: Tensor) -> Tensor:
    """This process's part of a whole tensor, which all processes have, laid out as `tensor` is."""
    if not isinstance(tensor, DTensor) or isinstance(whole, DTensor):
        return whole
    mesh, placements = tensor.device_mesh, tensor.placements
    part: Tensor = distribute_tensor(whole, mesh, placements, src_data_rank=None)
    return part.clone()  # or it would keep the whole in memory


def copy_parts(module: nn.Module) -> nn.Module:
    """The parameters and buffers of a sharded module, copied, under the same names.

    A sharded module refuses `deepcopy`. The copies cannot run forward.
    """
    copy = nn.Module()
    for name, param in module.named_parameters(recurse=False):
        copy.register_parameter(name, nn.Parameter(param.detach().clone(), param.requires_grad))
    for name, buffer in module.named_buffers(recurse=False):
        is_saved = name not in module._non_persistent_buffers_set
        copy.register_buffer(name, buffer.clone(), persistent=is_saved)
    for name, child in module.named_children():
        copy.add_module(name, copy_parts(child))
    return copy


def l2_norms(tensors: Sequence[Tensor]) -> Tensor:
    """The L2 norm of each whole tensor, (N,), with one all-reduce if they are in parts."""
    norms = torch.stack(torch._foreach_norm([local(tensor) for tensor in tensors]))
    group = _group(tensors[0])
    if group is None:
        return norms
    squares = norms.double().square()  # which float32 may not hold
    dist.all_reduce(squares, group=group)
    return squares.sqrt().to(norms.dtype)


def largest(value: Tensor, tensor: Tensor) -> Tensor:
    """The largest `value`, float (), among the processes that hold parts of `tensor`."""
    if (group := _group(tensor)) is not None:
        dist.all_reduce(value, dist.ReduceOp.MAX, group=group)
    return value


def _group(tensor: Tensor) -> dist.ProcessGroup | None:
    """The processes that hold different parts: of two dimensions of a mesh the last."""
    if not isinstance(tensor, DTensor):
        return None
    mesh = tensor.device_mesh
    return mesh.get_group(mesh.ndim - 1)
