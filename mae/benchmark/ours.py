"""Our side of a comparison: what a config trains, by the calls that `TrainLoop` makes."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mae.benchmark.job import LEARNING_RATE, Job
from mae.benchmark.training import Pretraining, random_images
from mae.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mae.utils.seeding import seed_generators


class Ours:
    """A model and optimizer wrapper as the runner would build them.

    Args:
        job: the comparison.
        model: of the config, weights started.
        batch: as collated, on the device.
    """

    switch = ''

    def __init__(self, job: Job, model: Any, batch: dict[str, Tensor]) -> None:
        self.model: Any = job.prepare(model).train()
        self._job = job
        self._batch = batch
        self._wrapper = _optim_wrapper(job, model)

    def loss(self, size: int) -> Tensor:
        """Forward pass, from the uint8 images of a collated batch."""
        part = {name: value[:size] for name, value in self._batch.items()}
        with self._wrapper.optim_context(self.model):
            inputs = self.model.data_preprocessor(part, True)
            loss: Tensor = self.model(**inputs, mode='loss')['loss']
        return loss

    def step(self) -> None:
        """One optimizer step of one micro-batch."""
        self._wrapper.begin_step([1.0])
        self.model.train_step(self._batch, self._wrapper)

    def check(self) -> float:
        """The loss of the whole batch; its masks follow from the keys."""
        return float(self.loss(self._job.batch_size).detach())


def pretraining(job: Job) -> Pretraining:
    """Weights, images and masks for all systems.

    Raises:
        ValueError: the config describes no pre-training.
    """
    if job.config.model['type'] != 'MAE':
        raise ValueError(
            f'{job.config.filename}: a {job.config.model["type"]} is not pre-trained; give the '
            'config of a pre-training'
        )
    model = build_model(job)
    raw = random_images(job, model.encoder)
    keys = torch.arange(1, job.batch_size + 1, device=job.device) * 0x9E3779B97F4A7C1
    model.to(job.device)
    return Pretraining(
        job=job,
        model=model,
        weights={name: value.clone() for name, value in model.state_dict().items()},
        raw=raw,
        images=model.data_preprocessor({'inputs': raw}, False)['inputs'],
        keys=keys,
        noise=model.masker.score(model.encoder.grid_size, keys),
    )


def pretrainer(given: Pretraining) -> Ours:
    """Our pre-training step."""
    nothing = torch.zeros_like(given.keys)
    batch = {'inputs': given.raw, 'keys': given.keys, 'labels': nothing, 'ids': nothing}
    return Ours(given.job, given.model, batch)


def build_model(job: Job) -> Any:
    """The model of the config, its weights a function of the seed."""
    model: nn.Module = MODELS.build(job.config.model)
    seed_generators(job.seed)
    model.init_weights()  # type: ignore[operator]  # every algorithm has it
    return model


def _optim_wrapper(job: Job, model: nn.Module) -> Any:
    """What the config says, in the precision of the job and at a harmless learning rate."""
    options = copy.deepcopy(dict(job.config.optim_wrapper))
    constructor = {'type': options.pop('constructor'), 'paramwise_cfg': options.pop('paramwise_cfg')}
    options['amp'] = None if job.dtype == torch.float32 else 'bfloat16'
    options['optimizer']['lr'] = LEARNING_RATE
    return OPTIM_WRAPPER_CONSTRUCTORS.build({**constructor, 'optim_wrapper_cfg': options})(model)
