"""What is examined: the parts of a config, built as in a run, but elsewhere and smaller."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mae.doctor.environment import Host
from mae.doctor.findings import FoundFault
from mae.doctor.probe import BatchPlan, Probe, plan_batches, probe_model
from mae.doctor.random_images import RandomImages
from mae.engine import Runner
from mae.engine.device_prefetcher import StepLoader
from mae.engine.img_size import fill_in_img_size
from mae.engine.runner import init_on_cpu
from mae.registry import DATASETS
from mae.utils.errors import CheckpointError, ConfigError, DataError, DownloadError
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators
from mae.zoo.fetch import find_file

_NUMBER = count()
_MOST_SAVED = 256 << 20  # bytes of a checkpoint up to which saves are part of what is timed


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
        plan: for the trial run.
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
        folder: work dir of the trial run.

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
    runner.use_dataset('train_dataloader', dataset)
    if val_dataset is not None:
        runner.use_dataset('val_dataloader', val_dataset)
    seed_generators(derive(runner.seed, -1))
    init_on_cpu(runner.bare_model)
    _ = runner.train_loop  # builds it, and checks classes
    try:
        runner.load_or_resume()
    except CheckpointError as error:
        findings.append(FoundFault('weights_unfit', str(error)))
        runner._load_from = None  # so that the trial run does not ask for them again
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
