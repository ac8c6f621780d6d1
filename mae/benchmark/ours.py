"""Our side of a comparison: what a config trains, by the calls that `TrainLoop` makes."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mae.benchmark.given import Finetuning, Given, Pretraining, random_images
from mae.benchmark.job import LEARNING_RATE, Job
from mae.engine.compile import compile_blocks
from mae.evaluation.features import features_of
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
        self.model: Any = model.to(job.device).train()
        self._batch = batch
        self._wrapper = _optim_wrapper(job, model)
        self._figure = self._first_loss()
        compile_blocks(model.blocks(), job.compile)  # what `compile=True` in a config does

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
        """The loss of the whole batch at the start, not compiled; masks follow from the keys."""
        return self._figure

    def _first_loss(self) -> float:
        return float(self.loss(len(self._batch['inputs'])).detach())


class OurClassifier(Ours):
    """Fine-tuning; its figure is taken without drop path, whose draws differ between systems."""

    def _first_loss(self) -> float:
        self.model.eval()
        loss = super()._first_loss()
        self.model.train()
        return loss


class OurFeatures:
    """Pooled features of a batch, as k-NN takes them, from uint8 images."""

    switch = ''

    def __init__(self, given: Given) -> None:
        given.model.to(given.job.device).eval()
        compile_blocks(given.model.blocks(), given.job.compile)
        self._given = given
        self._batch = {'inputs': given.raw, 'labels': torch.zeros(len(given.raw))}

    def step(self) -> None:
        """The features of the batch."""
        self._features()

    def check(self) -> float:
        """Their mean magnitude."""
        return float(self._features().float().abs().mean())

    @torch.inference_mode()
    def _features(self) -> Tensor:
        with self._given.job.autocast():
            return features_of(self._given.model, self._batch, 'avg')[0]


def pretraining(job: Job) -> Pretraining:
    """Weights, images and masks for all systems.

    Raises:
        ValueError: the config describes no pre-training.
    """
    job.require_training('MAE')
    given = features(job)
    keys = torch.arange(1, job.batch_size + 1, device=job.device) * 0x9E3779B97F4A7C1
    noise = given.model.masker.score(given.model.encoder.grid_size, keys)
    return Pretraining(**vars(given), keys=keys, noise=noise)


def finetuning(job: Job) -> Finetuning:
    """Weights, images and labels; mixup and erasing are left out, for ours and the peers alike.

    Raises:
        ValueError: the config describes no classifier, or one with frozen parts.
    """
    job.require_training('Classifier')
    options = job.config.model
    if options.get('trainable_blocks') is not None:
        raise ValueError(
            f'{job.name}: model.trainable_blocks={options.trainable_blocks} freezes a part, which '
            'the peers do not; give the config of a whole fine-tuning'
        )
    plain = copy.deepcopy(job.config)
    plain.model.preprocessor.update(mixup=None, erase=None)
    given = features(replace(job, config=plain))
    # The recipe starts the head at nearly nothing, where every encoder gives the same loss.
    head = given.weights['head.fc.weight'].normal_(std=0.02)
    given.model.head.fc.weight.data.copy_(head)
    wrapper = job.config.optim_wrapper
    return Finetuning(
        **vars(given),
        labels=torch.arange(job.batch_size, device=job.device) % given.model.num_classes,
        loss=given.model.loss,
        drop_path_rate=options.encoder.get('drop_path_rate', 0.0),
        layer_decay=wrapper.paramwise_cfg.get('layer_decay'),
        weight_decay=wrapper.optimizer.weight_decay,
        betas=tuple(wrapper.optimizer.betas),
    )


def features(job: Job) -> Given:
    """Weights and images for all systems."""
    model = build_model(job).to(job.device)
    raw = random_images(job, model.encoder)
    return Given(
        job=job,
        model=model,
        weights={name: value.clone() for name, value in model.state_dict().items()},
        raw=raw,
        images=model.data_preprocessor({'inputs': raw}, False)['inputs'],
    )


def pretrainer(given: Pretraining) -> Ours:
    """Our pre-training step."""
    nothing = torch.zeros_like(given.keys)
    batch = {'inputs': given.raw, 'keys': given.keys, 'labels': nothing, 'ids': nothing}
    return Ours(given.job, given.model, batch)


def finetuner(given: Finetuning) -> Ours:
    """Our fine-tuning step."""
    ids = torch.arange(len(given.labels))
    batch = {'inputs': given.raw, 'keys': ids, 'labels': given.labels, 'ids': ids}
    return OurClassifier(given.job, given.model, batch)


def shape_of(job: Job) -> Any:
    """The model of the config, without memory for its weights."""
    with torch.device('meta'):
        return MODELS.build(job.config.model)


def build_model(job: Job) -> Any:
    """The model of the config, its weights a function of the seed."""
    model: nn.Module = MODELS.build(job.config.model)
    seed_generators(job.seed)
    model.init_weights()  # type: ignore[operator]  # every algorithm has it
    return model


def _optim_wrapper(job: Job, model: nn.Module) -> Any:
    """What the config says, in the precision of the job and at a harmless learning rate."""
    options = copy.deepcopy(dict(job.config.optim_wrapper))
    constructor = {
        'type': options.pop('constructor'),
        'paramwise_cfg': options.pop('paramwise_cfg'),
    }
    options['amp'] = None if job.dtype == torch.float32 else 'bfloat16'
    options['optimizer']['lr'] = LEARNING_RATE
    return OPTIM_WRAPPER_CONSTRUCTORS.build({**constructor, 'optim_wrapper_cfg': options})(model)


# What all systems of a task are given, and ours of it.
TASKS: dict[str, tuple[Callable[[Job], Any], Callable[[Any], Any]]] = {
    'step': (pretraining, pretrainer),
    'finetune': (finetuning, finetuner),
    'evaluate': (features, OurFeatures),
}
