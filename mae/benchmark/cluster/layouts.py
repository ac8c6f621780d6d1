"""Memory, communication and time of a step, by how weights and batch are laid out over GPUs.

Every formula is in docs/en/notes/clusters.md with its source.

Symbols: W GPUs, N nodes, g GPUs of a node, S ranks that share one copy of the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt
from typing import Literal

from mae.benchmark.cluster.machines import Assumptions, Cluster
from mae.benchmark.cluster.workload import Workload

Parallel = Literal['ddp', 'fsdp', 'hsdp']
PARALLEL: tuple[Parallel, ...] = ('ddp', 'fsdp', 'hsdp')
_BUCKET = 25 * 2**20  # bytes, of DDP
_WEIGHT = 4  # bytes of a weight or of a gradient


@dataclass(frozen=True)
class ParallelLayout:
    """A setting to estimate.

    Attributes:
        parallel: 'ddp': each GPU has all weights. 'fsdp': each a share of them. 'hsdp': each a
            share, and each node a copy.
        recompute: of encoder and decoder.
        batch_per_device: images of a micro-batch.
        micro_steps: micro-batches of an optimizer step.
    """

    parallel: Parallel
    recompute: str
    batch_per_device: int
    micro_steps: int

    def shards(self, cluster: Cluster) -> int:
        """S."""
        ranks = {'ddp': 1, 'fsdp': cluster.world_size, 'hsdp': cluster.gpus}
        return ranks[self.parallel]


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: the share of a GPU, and buffers.
        gradients: the share of a GPU.
        optimizer: AdamW's averages.
        gathered: weights and gradients that are whole for a while.
        activations: kept for the backward pass, and what one block computes again.
    """

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        parts = (self.weights, self.gradients, self.optimizer, self.gathered, self.activations)
        return sum(parts)


def estimate_memory(workload: Workload, layout: ParallelLayout, cluster: Cluster) -> Memory:
    """Bytes that a GPU holds at the end of the forward pass."""
    S = layout.shards(cluster)
    work = workload.works[layout.recompute]
    activations = work.kept(layout.batch_per_device)
    if layout.recompute == 'blocks':
        whole = workload.works['nothing'].kept(layout.batch_per_device)
        activations += (whole - activations) / max(1, len(workload.blocks))
    gathered = 0.0
    if S > 1:
        # Two blocks (one runs, the next is on its way), their gradients, and what is in no block.
        rest = workload.parameters - sum(workload.blocks)
        gathered = _WEIGHT * 2 * (2 * max(workload.blocks, default=0) + rest)
        if layout.micro_steps > 1:  # gradients stay whole until the last micro-batch
            gathered += _WEIGHT * workload.trained
    return Memory(
        weights=_WEIGHT * workload.parameters / S + workload.buffers,
        gradients=_WEIGHT * workload.trained / S,
        optimizer=2 * _WEIGHT * workload.trained / S,
        gathered=gathered,
        activations=activations,
    )


@dataclass(frozen=True)
class Transfer:
    """A collective that recurs in a step.

    Attributes:
        sent: bytes that each GPU sends.
        seconds: of all its calls.
        calls: in which it comes.
    """

    sent: float
    seconds: float
    calls: int

    def exposed(self, window: float) -> float:
        """Seconds that nothing hides.

        Its calls start one after the other during `window` seconds of computation, and the
        first or the last of them has none beside it.
        """
        each = self.seconds / max(1, self.calls)
        return max(each, self.seconds - window * (1 - 1 / max(1, self.calls)))


def ring_bytes(payload: float, ranks: int, passes: int) -> float:
    """Bytes that each of the ranks sends around a ring.

    Args:
        payload: bytes of the whole tensor.
        passes: 2 for an all-reduce, 1 for an all-gather or a reduce-scatter.
    """
    return passes * payload * (ranks - 1) / ranks


def _transfer(
    payload: float, ranks: int, passes: int, calls: int, speed: float, assumed: Assumptions
) -> Transfer:
    sent = ring_bytes(payload, ranks, passes)
    if ranks == 1:
        return Transfer(0.0, 0.0, 0)
    latency = calls * passes * ceil(log2(ranks)) * assumed.hop
    return Transfer(sent, sent / (speed * assumed.link_share) + latency, calls)


@dataclass(frozen=True)
class Traffic:
    """Collectives of one step.

    Attributes:
        gather: of weights, in one forward pass.
        again: of the blocks' weights, in one backward pass; FSDP2 keeps all other weights gathered.
        scatter: of gradients to their shares, in the last backward pass.
        reduce: of gradients over all copies, in the last backward pass.
    """

    gather: Transfer
    again: Transfer
    scatter: Transfer
    reduce: Transfer

    def sent(self, micro_steps: int) -> float:
        """Bytes that each GPU sends in a step."""
        gathered = micro_steps * (self.gather.sent + self.again.sent)
        return gathered + self.scatter.sent + self.reduce.sent


def estimate_traffic(
    workload: Workload, layout: ParallelLayout, cluster: Cluster, assumed: Assumptions
) -> Traffic:
    """What is sent in a step, and how long it takes."""
    W, N, S = cluster.world_size, cluster.nodes, layout.shards(cluster)
    nvlink, ring = cluster.gpu.nvlink, cluster.slowest_link
    gradients, weights = _WEIGHT * workload.trained, _WEIGHT * workload.parameters
    none = Transfer(0.0, 0.0, 0)
    if layout.parallel == 'ddp':
        calls = ceil(gradients / _BUCKET)
        return Traffic(none, none, none, _transfer(gradients, W, 2, calls, ring, assumed))
    groups, blocks = len(workload.blocks) + 1, _WEIGHT * sum(workload.blocks)
    speed = ring if layout.parallel == 'fsdp' else nvlink
    gather = _transfer(weights, S, 1, groups, speed, assumed)
    again = _transfer(blocks, S, 1, groups - 1, speed, assumed)
    scatter = _transfer(gradients, S, 1, groups, speed, assumed)
    if layout.parallel == 'fsdp' or N == 1:
        return Traffic(gather, again, scatter, none)
    # Each GPU of a node reduces its own share, and all at once: they divide the node's network.
    share = min(nvlink, (cluster.link or nvlink) / cluster.gpus)
    reduce = _transfer(gradients / S, N, 2, groups, share, assumed)
    return Traffic(gather, again, scatter, reduce)


@dataclass(frozen=True)
class Step:
    """Seconds of an optimizer step.

    Attributes:
        device: forward and backward passes, if the GPU waits for nothing.
        host: in which the host starts their operators.
        update: the optimizer's.
        communication: all collectives.
        exposed: the part of them that no computation hides.
        sent: bytes that each GPU sends.
    """

    device: float
    host: float
    update: float
    communication: float
    exposed: float
    sent: float

    @property
    def total(self) -> float:
        """Computation at the slower of device and host, and what it does not hide."""
        return max(self.device, self.host) + self.update + self.exposed


def estimate_step(
    workload: Workload, layout: ParallelLayout, cluster: Cluster, assumed: Assumptions
) -> Step:
    """Seconds of a step, data always at hand."""
    micro = layout.micro_steps
    device = _device_seconds(workload, layout.recompute, layout, cluster, assumed)
    host = workload.works[layout.recompute].operators * assumed.launch
    # A backward pass is twice the forward pass; what is computed again is in it too.
    plain = _device_seconds(workload, 'nothing', layout, cluster, assumed)
    forward = max(plain, workload.works['nothing'].operators * assumed.launch) / 3
    backward = max(device, host) - forward
    traffic = estimate_traffic(workload, layout, cluster, assumed)
    gather, again = traffic.gather, traffic.again
    parts = (again, traffic.scatter, traffic.reduce)
    last = Transfer(0.0, sum(part.seconds for part in parts), max(part.calls for part in parts))
    exposed = micro * gather.exposed(forward) + (micro - 1) * again.exposed(backward)
    return Step(
        device=micro * device,
        host=micro * host,
        update=_update_seconds(workload, layout, cluster, assumed),
        communication=micro * gather.seconds + (micro - 1) * again.seconds + last.seconds,
        exposed=exposed + last.exposed(backward),
        sent=traffic.sent(micro),
    )


def _device_seconds(
    workload: Workload,
    recompute: str,
    layout: ParallelLayout,
    cluster: Cluster,
    assumed: Assumptions,
) -> float:
    """A micro-batch: products, attention, and all else at the speed of the memory."""
    work, gpu, images = workload.works[recompute], cluster.gpu, layout.batch_per_device
    bandwidth = gpu.bandwidth * assumed.bandwidth_share
    products = work.products(images) / (gpu.products * assumed.products_share)
    attention = work.attention(images) / (gpu.products * assumed.attention_share)
    moved = work.products_traffic(images) / bandwidth
    return max(products, moved) + attention + work.traffic(images) / bandwidth


def _update_seconds(
    workload: Workload, layout: ParallelLayout, cluster: Cluster, assumed: Assumptions
) -> float:
    bandwidth = cluster.gpu.bandwidth * assumed.bandwidth_share
    return workload.update_traffic / layout.shards(cluster) / bandwidth


@dataclass(frozen=True)
class Saving:
    """Checkpoints, and what failures cost.

    Attributes:
        size: bytes of a checkpoint.
        stall: seconds in which the GPUs wait for a copy of their state.
        write: seconds until the files are written, beside the training.
        mtbf: seconds between two failures of the cluster.
        interval: seconds from a checkpoint to the next, so that least is lost.
        goodput: share of the time that ends in weights.
    """

    size: float
    stall: float
    write: float
    mtbf: float
    interval: float
    goodput: float


def estimate_saving(
    workload: Workload, layout: ParallelLayout, cluster: Cluster, assumed: Assumptions
) -> Saving:
    """Young's interval and what it leaves of the time."""
    size, S = workload.state, layout.shards(cluster)
    # One process writes a whole file; sharded, all nodes that hold different shares do at once.
    writers = cluster.nodes if layout.parallel == 'fsdp' else 1
    stall = size / S / assumed.host_copy
    write = size / (writers * assumed.disk)
    mtbf = assumed.node_mtbf * 3600 / cluster.nodes
    interval = max(sqrt(2 * stall * mtbf), write)
    lost = stall / interval + (interval / 2 + write + assumed.restart) / mtbf
    return Saving(size, stall, write, mtbf, interval, max(0.0, 1 - lost))


def micro_batches(share: int, most: int) -> Sequence[int]:
    """Sizes of a micro-batch that divide a GPU's share of the global batch, the largest first."""
    return [size for size in range(min(share, most), 0, -1) if share % size == 0]
