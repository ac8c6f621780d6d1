"""Our side of a comparison: what a config trains, by the calls that `TrainLoop` makes."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mae.benchmark.inputs import (
    DenseInputs,
    FinetuningInputs,
    Inputs,
    PretrainingInputs,
    dense_samples,
    random_images,
)
from mae.benchmark.settings import LEARNING_RATE, Settings
from mae.datasets import collate_dense
from mae.engine.compile import compile_blocks, compiled_parts
from mae.engine.cuda_graph import GraphedStep
from mae.evaluation.knn_evaluation import features_of
from mae.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mae.utils.seeding import seed_generators


class Ours:
    """A model and optimizer wrapper as the runner would build them.

    Args:
        settings: the comparison.
        model: built from the config, its weights initialised.
        batch: as a step gets it: the images on the device, all else on the host, from which it is
            copied in the step, perhaps after it has been checked there.
    """

    switch = ''

    def __init__(self, settings: Settings, model: Any, batch: dict[str, Tensor]) -> None:
        self.model: Any = model.to(settings.device).train()
        self._batch = {name: _pinned(value) for name, value in batch.items()}
        self._wrapper = build_optim_wrapper(settings, model)
        self._figure = self._first_loss()
        compile_blocks(compiled_parts(model), settings.compile)  # as `compile=True` of a config
        graphed = GraphedStep(self.model) if settings.cuda_graph else None
        self._train_step = graphed or self.model.train_step

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
        self._train_step(self._batch, self._wrapper)

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


class OurDense(Ours):
    """Segmentation or detection, whose maps and objects are laid end to end in a batch.

    The figure of a segmenter is taken without dropout, whose draws differ between systems; a
    detector draws the same samples as others from the same seed.
    """

    def __init__(self, inputs: DenseInputs) -> None:
        self._inputs = inputs
        super().__init__(inputs.settings, inputs.model, self._collated(len(inputs.samples)))

    def loss(self, size: int) -> Tensor:
        """Forward pass, from the uint8 images of a collated batch."""
        with self._wrapper.optim_context(self.model):
            inputs = self.model.data_preprocessor(self._collated(size), True)
            inputs.pop('keys', None)  # a detector then draws its samples as the peer does
            return total_of(self.model(**inputs, mode='loss'))

    def _collated(self, size: int) -> dict[str, Any]:
        batch: dict[str, Any] = collate_dense(self._inputs.samples[:size])
        return batch

    def _first_loss(self) -> float:
        seed_generators(self._inputs.settings.seed)
        self.model.train(not hasattr(self.model, 'head'))
        loss = super()._first_loss()
        self.model.train()
        return loss


class OurFeatures:
    """Pooled features of a batch, as k-NN takes them, from uint8 images."""

    switch = ''

    def __init__(self, inputs: Inputs) -> None:
        inputs.model.to(inputs.settings.device).eval()
        compile_blocks(inputs.model.blocks(), inputs.settings.compile)
        self._inputs = inputs
        self._batch = {'inputs': inputs.raw, 'labels': torch.zeros(len(inputs.raw))}

    def step(self) -> None:
        """The features of the batch."""
        self._features()

    def check(self) -> float:
        """Their mean magnitude."""
        return float(self._features().float().abs().mean())

    @torch.inference_mode()
    def _features(self) -> Tensor:
        with self._inputs.settings.autocast():
            return features_of(self._inputs.model, self._batch, 'avg')[0]


def pretraining(settings: Settings) -> PretrainingInputs:
    """Weights, images and masks for all systems.

    Raises:
        ValueError: the config describes no pre-training.
    """
    settings.require_training('MAE')
    inputs = features(settings)
    keys = torch.arange(1, settings.batch_size + 1) * 0x9E3779B97F4A7C1
    noise = inputs.model.masker.score(inputs.model.encoder.grid_size, keys.to(settings.device))
    return PretrainingInputs(**vars(inputs), keys=keys, noise=noise)


def finetuning(settings: Settings) -> FinetuningInputs:
    """Weights, images and labels; mixup and erasing are left out, for ours and the peers alike.

    Raises:
        ValueError: the config describes no classifier, or one with frozen parts.
    """
    settings.require_training('Classifier')
    options = settings.config.model
    if options.get('trainable_blocks') is not None:
        raise ValueError(
            f'{settings.name}: model.trainable_blocks={options.trainable_blocks} freezes a part, '
            'which the peers do not; give the config of a whole fine-tuning'
        )
    plain = copy.deepcopy(settings.config)
    plain.model.preprocessor.update(mixup=None, erase=None)
    inputs = features(replace(settings, config=plain))
    # The recipe starts the head at nearly nothing, where every encoder gives the same loss.
    head = inputs.weights['head.fc.weight'].normal_(std=0.02)
    inputs.model.head.fc.weight.data.copy_(head)
    wrapper = settings.config.optim_wrapper
    return FinetuningInputs(
        **vars(inputs),
        labels=torch.arange(settings.batch_size) % inputs.model.num_classes,
        loss=inputs.model.loss,
        drop_path_rate=options.encoder.get('drop_path_rate', 0.0),
        layer_decay=wrapper.paramwise_cfg.get('layer_decay'),
        weight_decay=wrapper.optimizer.weight_decay,
        betas=tuple(wrapper.optimizer.betas),
    )


def segmentation(settings: Settings) -> DenseInputs:
    """Weights, images and maps for all systems; drop path is left out, as its draws differ.

    Raises:
        ValueError: the config describes no segmentation.
    """
    settings.require_training('Segmenter')
    plain = copy.deepcopy(settings.config)
    plain.model.encoder.drop_path_rate = 0.0
    return _dense(replace(settings, config=plain), with_maps=True)


def detection(settings: Settings) -> DenseInputs:
    """Weights, images and objects for all systems, with torchvision's losses and pooling.

    Raises:
        ValueError: the config describes no detection.
    """
    settings.require_training('Detector')
    plain = copy.deepcopy(settings.config)
    plain.model.encoder.drop_path_rate = 0.0
    plain.model.rpn.box_loss = 'smooth'
    plain.model.roi.update(box_loss='smooth', aligned=False)
    return _dense(replace(settings, config=plain), with_maps=False)


def _dense(settings: Settings, *, with_maps: bool) -> DenseInputs:
    inputs = features(settings)
    samples = dense_samples(inputs.raw, inputs.model.num_classes, with_maps=with_maps)
    data = inputs.model.data_preprocessor(collate_dense(samples), True)
    optimizer = settings.config.optim_wrapper.optimizer
    return DenseInputs(
        **{**vars(inputs), 'images': data['inputs']},
        samples=samples,
        targets={key: data[key] for key in ('maps', 'objects') if key in data},
        weight_decay=optimizer.weight_decay,
        betas=tuple(optimizer.betas),
    )


def total_of(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of a model's losses, as it is trained."""
    return torch.stack([loss for name, loss in losses.items() if 'loss' in name]).sum()


def features(settings: Settings) -> Inputs:
    """Weights and images for all systems."""
    model = build_model(settings).to(settings.device)
    raw = random_images(settings, model.encoder)
    return Inputs(
        settings=settings,
        model=model,
        weights={name: value.clone() for name, value in model.state_dict().items()},
        raw=raw,
        images=model.data_preprocessor({'inputs': raw}, False)['inputs'],
    )


def pretrainer(inputs: PretrainingInputs) -> Ours:
    """Our pre-training step."""
    nothing = torch.zeros_like(inputs.keys)
    batch = {'inputs': inputs.raw, 'keys': inputs.keys, 'labels': nothing, 'ids': nothing}
    return Ours(inputs.settings, inputs.model, batch)


def finetuner(inputs: FinetuningInputs) -> Ours:
    """Our fine-tuning step."""
    ids = torch.arange(len(inputs.labels))
    batch = {'inputs': inputs.raw, 'keys': ids, 'labels': inputs.labels, 'ids': ids}
    return OurClassifier(inputs.settings, inputs.model, batch)


def _pinned(value: Tensor) -> Tensor:
    """What is on the host, as the loaders of a run on a GPU give it."""
    on_host = value.device.type == 'cpu' and torch.cuda.is_available()
    return value.pin_memory() if on_host else value


def meta_model(settings: Settings) -> Any:
    """The model of the config, without memory for its weights."""
    with torch.device('meta'):
        return MODELS.build(settings.config.model)


def build_model(settings: Settings) -> Any:
    """The model of the config, its weights a function of the seed."""
    model: nn.Module = MODELS.build(settings.config.model)
    seed_generators(settings.seed)
    model.init_weights()  # type: ignore[operator]  # every algorithm has it
    return model


def build_optim_wrapper(settings: Settings, model: nn.Module) -> Any:
    """What the config says, in the precision of the comparison and at a harmless learning rate."""
    options = copy.deepcopy(dict(settings.config.optim_wrapper))
    constructor = {
        'type': options.pop('constructor'),
        'paramwise_cfg': options.pop('paramwise_cfg'),
    }
    options['amp'] = None if settings.dtype == torch.float32 else 'bfloat16'
    options['optimizer']['lr'] = LEARNING_RATE
    return OPTIM_WRAPPER_CONSTRUCTORS.build({**constructor, 'optim_wrapper_cfg': options})(model)


# What prepares the inputs of all systems of a task, and what builds ours of them.
TASKS: dict[str, tuple[Callable[[Settings], Any], Callable[[Any], Any]]] = {
    'step': (pretraining, pretrainer),
    'finetune': (finetuning, finetuner),
    'evaluate': (features, OurFeatures),
    'segment': (segmentation, OurDense),
    'detect': (detection, OurDense),
}
