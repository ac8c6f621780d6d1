"""What is examined: the parts of a config, built as in a run, but elsewhere and smaller."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mae.benchmark.measure import synchronize
from mae.benchmark.memory import activation_bytes_per_image, static_bytes
from mae.doctor.environment import Host
from mae.doctor.findings import FoundFault
from mae.doctor.random_images import RandomImages
from mae.engine import Runner
from mae.engine.device_prefetcher import StepLoader
from mae.engine.img_size import fill_in_img_size
from mae.engine.runner import init_on_cpu
from mae.registry import DATASETS, FUNCTIONS, MODELS
from mae.utils.errors import CheckpointError, ConfigError, DataError, DownloadError
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators
from mae.zoo.fetch import find_file

_NUMBER = count()
_PROBED = {'cpu': 4, 'cuda': 64}  # images at most
_WHOLE = {'cpu': 3.0, 'cuda': 8.0}  # seconds up to which a step is taken as it is
_PART = 2.0  # seconds of a smaller one
_LEAST = 2  # images: batch norms take no less, and masks of two can differ
_MOST_SAVED = 256 << 20  # bytes of a checkpoint up to which saves are part of what is timed
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
    """Batches with which the run is rehearsed.

    Attributes:
        micro_batch: images that the device computes at once.
        global_batch: images of a step.
        is_whole: whether they are the run's own.
    """

    micro_batch: int
    global_batch: int
    is_whole: bool


@dataclass
class Subject:
    """The parts of a run.

    Attributes:
        config: as the user has it.
        host: this machine.
        dataset: of training.
        val_dataset: of validation; None without one, or where it cannot be read.
        is_random: whether the images are random, because the config's are missing.
        findings: of building it.
        probe: of the model.
        plan: for the rehearsal.
        runner: in a folder of its own, with the batches of the plan.
    """

    config: Config
    host: Host
    dataset: Any
    val_dataset: Any | None
    is_random: bool
    findings: list[FoundFault]
    probe: Probe
    plan: BatchPlan
    runner: Runner

    @property
    def model(self) -> Any:
        """Of the runner."""
        return self.runner.bare_model

    @property
    def loader(self) -> StepLoader:
        """Of training, with the batches of the plan."""
        loop: Any = self.runner.train_loop
        loader: StepLoader = loop.dataloader
        return loader


def global_batch(config: Mapping[str, Any]) -> int:
    """Images of a step in one process."""
    size: int = config.get('global_batch_size') or config['train_dataloader']['batch_size']
    return size


def prepare(config: Config, host: Host, folder: Path) -> Subject:
    """Build dataset, model and runner of a config.

    Args:
        config: describes a training.
        host: this machine.
        folder: work dir of the rehearsal.

    Raises:
        ConfigError: the config states something impossible.
        DataError: label maps or objects cannot be read, which no random images replace.
    """
    findings: list[FoundFault] = []
    changed = _elsewhere(config, folder)
    dataset, is_random = _training_data(changed, findings)
    _replace_bad(dataset)
    val_dataset = _validation_data(changed, findings, is_random)
    probe = probe_model(changed, dataset, host.device)
    largest = changed.train_dataloader.batch_size
    plan = plan_batches(largest, global_batch(changed), probe, host)
    _shrink(changed, plan, probe, host.cores)
    _take_weights(changed, findings)
    runner = Runner.from_cfg(changed)
    seed_generators(derive(runner.seed, -1))
    init_on_cpu(runner.bare_model)
    loop: Any = runner.train_loop  # builds it, and checks classes
    _replace_bad(loop.dataloader.dataset)
    try:
        runner.load_or_resume()
    except CheckpointError as error:
        findings.append(FoundFault('weights_unfit', str(error)))
        runner._load_from = None  # so that the rehearsal does not ask for them again
    return Subject(config, host, dataset, val_dataset, is_random, findings, probe, plan, runner)


def _replace_bad(dataset: Any) -> None:
    """Let images that cannot be read be replaced, as in a run: the part on data tells of them."""
    if hasattr(dataset, 'replaces_bad'):
        dataset.replaces_bad = True


def _elsewhere(config: Config, folder: Path) -> Config:
    """The same run in another folder, alone, quiet, and from its start."""
    changed = Config(copy.deepcopy(config.to_dict()))
    changed.merge_from_dict(
        {
            'work_dir': str(folder),
            'experiment_name': f'doctor{next(_NUMBER)}',
            'launcher': 'none',
            'parallel': None,
            'resume': False,
            'resume_anyway': None,
            'log_level': 'ERROR',
        }
    )
    changed.visualizer = {'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}
    fill_in_img_size(changed)  # of a config that `load_config` has not read
    return changed


def _training_data(changed: Config, findings: list[FoundFault]) -> tuple[Any, bool]:
    """The dataset, and whether it has random images in the place of those that are missing."""
    options = changed.train_dataloader.dataset
    try:
        return DATASETS.build(options), False
    except DataError as error:
        if changed.model.type not in ('MAE', 'Classifier'):
            raise
        findings.append(FoundFault('data_missing', str(error)))
    encoder = changed.model.encoder
    first = str(options.pipeline[0]['type'])
    size = encoder.get('img_size', 224)
    options.source = {
        'type': RandomImages.__name__,
        'number': 4 * global_batch(changed),
        'num_classes': (changed.model.get('head') or {}).get('num_classes', 0),
        'encoded': first.startswith('Decode'),
        'channels': encoder.get('in_channels', 3),
    }
    if not options.source['encoded']:
        options.source['size'] = (size, size) if isinstance(size, int) else tuple(size)
    options.pop('quarantine', None)
    return DATASETS.build(options), True


def _validation_data(changed: Config, findings: list[FoundFault], is_random: bool) -> Any | None:
    loader = changed.get('val_dataloader')
    if not loader:
        return None
    if not is_random:
        try:
            return DATASETS.build(loader.dataset)
        except DataError as error:
            where = 'val_dataloader.dataset.source'
            findings.append(FoundFault('data_missing', str(error), where))
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        changed.pop(key, None)
    checkpoint = (changed.get('default_hooks') or {}).get('checkpoint')
    if checkpoint:
        checkpoint.pop('save_best', None)
    return None


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


def _shrink(changed: Config, plan: BatchPlan, probe: Probe, cores: int) -> None:
    """Give a config the batches of the plan; no large checkpoints, nor more workers than cores."""
    changed.global_batch_size = plan.global_batch
    changed.train_dataloader.batch_size = plan.micro_batch
    changed.train_dataloader.sampler.pop('global_batch_size', None)
    workers = changed.train_dataloader.get('num_workers')
    if isinstance(workers, int):  # more are a finding, and would only take memory here
        changed.train_dataloader.num_workers = min(workers, cores)
    hooks = changed.get('default_hooks') or {}
    if not plan.is_whole or probe.static_bytes > _MOST_SAVED:
        hooks['checkpoint'] = None
    changed.default_hooks = hooks


def _take_weights(changed: Config, findings: list[FoundFault]) -> None:
    """Replace the name of the weights to start from by their path."""
    name = changed.get('load_from')
    changed.load_from = None
    if not name:
        return
    try:
        changed.load_from = str(find_file(name).path)
    except (CheckpointError, ConfigError, DownloadError, OSError) as error:
        findings.append(FoundFault('weights_unfit', str(error)))
