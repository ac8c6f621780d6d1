"""What a few images take of time and memory, and the batches that follow for a short run."""

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mae.benchmark.measure import synchronize
from mae.benchmark.memory import activation_bytes_per_image, static_bytes
from mae.doctor.environment import Host
from mae.registry import FUNCTIONS, MODELS
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

_PROBED = {'cpu': 4, 'cuda': 64}  # images at most
_WHOLE = {'cpu': 3.0, 'cuda': 8.0}  # seconds up to which a step is taken as it is
_PART = 2.0  # seconds of a smaller one
_LEAST = 2  # images: batch norms take no less, and masks of two can differ
FULLEST = 0.95  # share of the free memory that a run may take


@dataclass(frozen=True)
class Probe:
    """What a forward and backward pass of a few images takes.

    Attributes:
        seconds: of one image.
        image_bytes: that one more image adds to the peak.
        static_bytes: weights, gradients and two averages.
    """

    seconds: float
    image_bytes: float
    static_bytes: int


@dataclass(frozen=True)
class BatchPlan:
    """Batches with which the trial run is made.

    Attributes:
        micro_batch: images that the device computes at once.
        global_batch: images of a step.
        is_whole: whether they are the run's own.
    """

    micro_batch: int
    global_batch: int
    is_whole: bool


def probe_model(config: Config, dataset: Any, device: str) -> Probe:
    """Take a few images forward and backward through the model of a config, as it is trained.

    Raises:
        ConfigError: the model cannot be built, or does not take the images.
    """
    model: Any = _built(config).to(device).train()
    loader = config.train_dataloader
    number = max(_LEAST, min(loader.batch_size, _PROBED[device]))
    collate = FUNCTIONS.get((loader.get('collate_fn') or {'type': 'collate'})['type'])
    samples = dataset.__getitems__([(index, derive(0, index)) for index in range(number)])
    amp = config.optim_wrapper.get('amp')
    dtype = None if amp is None else getattr(torch, amp)

    def loss(size: int) -> Tensor:
        seed_generators(0)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            inputs = model.data_preprocessor(collate(samples[:size]), True)
            total: Tensor = model.parse_losses(model(**inputs, mode='loss'))[0]
        return total

    where = torch.device(device)
    _, each = activation_bytes_per_image(loss, model, number, where, least=_LEAST)
    for _ in range(2):  # the first pass of a process is slower
        start = _now(device)
        loss(number).backward()
        seconds = (_now(device) - start) / number
        if seconds * number > _PART:
            break
    return Probe(seconds, each, static_bytes(model))


def _now(device: str) -> float:
    """Seconds; of a CPU those of a core, so that the plan does not depend on its other load."""
    if device == 'cuda':
        synchronize(device)
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def _built(config: Config) -> nn.Module:
    seed_generators(0)
    model: nn.Module = MODELS.build(copy.deepcopy(config.model))
    return model


def fits_memory(batch: int, probe: Probe, memory: int | None) -> bool:
    """Whether a step of so many images stays within the free memory."""
    needed = probe.static_bytes + batch * probe.image_bytes
    return memory is None or needed <= FULLEST * memory


def plan_batches(micro_batch: int, total: int, probe: Probe, host: Host) -> BatchPlan:
    """The run's own batches where a step is short and fits, else smaller ones.

    A power of two, so that two examinations come to the same.

    Args:
        micro_batch: images that the run computes at once.
        total: images of its step.
        probe: of the model.
        host: whose memory and device they are for.
    """
    micro_batch = min(micro_batch, total)
    is_short = total * probe.seconds <= _WHOLE[host.device]
    if is_short and fits_memory(micro_batch, probe, host.memory):
        return BatchPlan(micro_batch, total, is_whole=True)
    most = min(micro_batch, max(_LEAST, int(_PART / probe.seconds)))
    batch = 1 << (most.bit_length() - 1)
    while batch > _LEAST and not fits_memory(batch, probe, host.memory):
        batch //= 2
    batch = max(batch, min(_LEAST, micro_batch))
    return BatchPlan(batch, batch, is_whole=False)
