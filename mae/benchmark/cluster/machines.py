"""What GPUs, networks and stores are taken to give.

Formulas and sources: docs/en/notes/clusters.md.
"""

import re
from dataclasses import dataclass

from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet.

    Attributes:
        memory: bytes.
        products: peak of dense bfloat16 products, FLOP/s.
        bandwidth: peak of its memory, bytes/s.
        nvlink: to the other GPUs of the node, bytes/s in one direction.
    """

    memory: float
    products: float
    bandwidth: float
    nvlink: float


GPUS = {
    'a100-40': Gpu(40e9, 312e12, 1.555e12, 300e9),
    'a100': Gpu(80e9, 312e12, 2.039e12, 300e9),
    'h100': Gpu(80e9, 989e12, 3.35e12, 450e9),
    'h200': Gpu(141e9, 989e12, 4.8e12, 450e9),
}


@dataclass(frozen=True)
class Assumptions:
    """Figures that no data sheet states; shares are of a peak.

    Attributes:
        products_share: that products reach.
        attention_share: of the peak of products that attention reaches.
        bandwidth_share: that copies in the GPU's memory reach.
        link_share: that collectives reach, of NVLink and of the network.
        memory_share: of a GPU's memory that a run may plan with; the rest is CUDA's context,
            NCCL's buffers and fragmentation.
        launch: seconds in which the host starts an operator.
        hop: seconds of latency of a collective, for each doubling of its processes.
        host_copy: from a GPU to pinned memory, bytes/s.
        disk: that the processes of one node write to the store together, bytes/s.
        images_per_core: images that a core decodes and crops in a second.
        node_mtbf: hours between two failures of one node.
        restart: seconds from a failure until the run trains again.
    """

    products_share: float = 0.71
    attention_share: float = 0.09
    bandwidth_share: float = 0.85
    link_share: float = 0.8
    memory_share: float = 0.9
    launch: float = 1e-5
    hop: float = 1e-5
    host_copy: float = 20e9
    disk: float = 1e9
    images_per_core: float = 600.0
    node_mtbf: float = 6300.0
    restart: float = 300.0


@dataclass(frozen=True)
class Cluster:
    """Machines of one kind, and the network between them.

    Attributes:
        nodes: N.
        gpus: of a node.
        gpu: each of them.
        link: of a node to the others, bytes/s in one direction; None where there is one node.
    """

    nodes: int
    gpus: int
    gpu: Gpu
    link: float | None

    def __post_init__(self) -> None:
        for name in ('nodes', 'gpus'):
            if getattr(self, name) < 1:
                raise ConfigError(f'--{name} must be at least 1, not {getattr(self, name)}')
        if self.nodes > 1 and self.link is None:
            raise ConfigError(f'{self.nodes} nodes need --link, such as 400Gb or 8x400Gb')

    @property
    def world_size(self) -> int:
        """W."""
        return self.nodes * self.gpus

    @property
    def slowest_link(self) -> float:
        """Bytes/s of the ring through all GPUs: it enters and leaves each node once."""
        nvlink = self.gpu.nvlink
        return nvlink if self.nodes == 1 or self.link is None else min(nvlink, self.link)


_LINK = re.compile(r'(?:(\d+)x)?(\d+(?:\.\d+)?)([MGT])([bB])(?:it|its)?(?:/s|ps)?')


def parse_link(text: str) -> float:
    """Speed of a node's network in bytes/s.

    Args:
        text: such as '400Gb' (bits a second), '50GB' (bytes), '8x400Gb' (eight cards).

    Raises:
        ConfigError: it is none, or 0.
    """
    match = _LINK.fullmatch(text.strip())
    speed = 0.0
    if match:
        cards, number, prefix, unit = match.groups()
        scale = {'M': 1e6, 'G': 1e9, 'T': 1e12}[prefix] / (8 if unit == 'b' else 1)
        speed = int(cards or 1) * float(number) * scale
    if not speed:
        raise ConfigError(
            f'--link {text}: give the speed of a node to the others, such as 400Gb (bits a '
            'second), 50GB (bytes a second) or 8x400Gb (eight cards)'
        )
    return speed


def find_gpu(name: str) -> Gpu:
    """A GPU by its name.

    Raises:
        ConfigError: it is unknown.
    """
    if name not in GPUS:
        raise ConfigError(f'--gpu {name}: known are {", ".join(GPUS)}{did_you_mean(name, GPUS)}')
    return GPUS[name]
