"""What predictions of segmenters and detectors share: images of any size, as the config tests them.

Shapes: C channels, H W pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.transforms.v2 import functional as F

from mae.apis.images import Picture, Pictures, decode_picture
from mae.apis.inference import Failure, Inferencer
from mae.apis.zoo import LoadedModel, require_class_names
from mae.datasets.transforms import DecodeImage
from mae.models.algorithms import Detector
from mae.registry import TRANSFORMS
from mae.utils.errors import CheckpointError, ConfigError, NonFiniteError

ImagePipeline = Sequence[Mapping[str, Any]]
# Of a test pipeline: what reads the annotations, which a prediction has none of, and the end.
_NOT_OF_THE_IMAGE = ('LoadMap', 'LoadInstances', 'PackDense')


@dataclass(frozen=True)
class DenseImage:
    """An image as the model takes it.

    Attributes:
        pixels: uint8 (C, H, W) as decoded, for pictures.
        inputs: uint8 (C, H, W), resized and perhaps with a border at the bottom and on the right.
        shape: (height, width) of the part of `inputs` that is picture.
    """

    pixels: Tensor
    inputs: Tensor
    shape: tuple[int, int]

    @property
    def original(self) -> tuple[int, int]:
        """(height, width) of the image as decoded."""
        return self.pixels.shape[-2], self.pixels.shape[-1]


class ReadDenseImage:
    """From one image to a `DenseImage`, as evaluation sees it.

    Args:
        channels: C.
        pipeline: transforms of the image alone; a `DecodeImage` among them reads it.
        patch_size: the shorter side of a smaller image is enlarged to it.
        largest: (height, width) that a larger image is reduced to fit into; None takes any size.
        whole_patches: fill up to whole patches, as detectors need.

    Raises:
        ConfigError: a transform that draws at random.
    """

    def __init__(
        self,
        channels: int,
        pipeline: ImagePipeline = (),
        *,
        patch_size: int = 1,
        largest: tuple[int, int] | None = None,
        whole_patches: bool = False,
    ) -> None:
        self.decode: Callable[[dict[str, Any]], Any] = DecodeImage(channels)
        self.transforms: list[Any] = []
        for config in pipeline:
            transform = TRANSFORMS.build(dict(config))
            if getattr(transform, 'is_random', True):
                raise ConfigError(
                    f'the test pipeline has a {type(transform).__name__}, which draws at random: '
                    'predictions need a pipeline= that does not'
                )
            if isinstance(transform, DecodeImage):
                self.decode = transform
            else:
                self.transforms.append(transform)
        self.patch_size = patch_size
        self.largest = largest
        self.whole_patches = whole_patches

    def __call__(self, image: Picture) -> DenseImage:
        """The image.

        Raises:
            ValueError: as `mae.apis.images.ReadImage`.
        """
        results = decode_picture(image, self.decode)
        pixels: Tensor = results['img']
        for transform in self.transforms:
            results = transform(results)
        inputs: Tensor = results['img']
        shape = results.get('shape')
        if shape is None:
            inputs = self._fitted(inputs)
            shape = inputs.shape[-2:]
        if self.whole_patches:
            inputs = pad(inputs, _border(inputs, self.patch_size))
        return DenseImage(pixels, inputs, (int(shape[0]), int(shape[1])))

    def _fitted(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        scale = max(1.0, self.patch_size / min(height, width))
        if self.largest is not None:
            scale = min(scale, self.largest[0] / height, self.largest[1] / width)
        if scale == 1:
            return image
        size = [max(round(side * scale), self.patch_size) for side in (height, width)]
        fitted: Tensor = F.resize_image(image, size, antialias=True)
        return fitted


class DenseInferencer(Inferencer):
    """Predictions for images of any size and aspect.

    Images of one batch that have the same size after the pipeline go through the model together.

    Args:
        model: as for `Inferencer`.
        pretrained: as for `Inferencer`.
        classes: names in the order of the labels; None takes those stored with the weights, else
            the numbers.
        pipeline: transforms of the image, as configs; None takes those of the config's test
            pipeline, and for a model without its config none.
        batch_size: as for `Inferencer`.
        options: other arguments of `Inferencer`.

    Raises:
        CheckpointError: the weights lack a part that the predictions need.
        NonFiniteError: a weight is NaN or infinite.
        ValueError: the model is of another task, or the number of names is not that of the classes.
    """

    task: type[nn.Module]

    def __init__(
        self,
        model: str | Path | Config | nn.Module | LoadedModel,
        pretrained: bool | str | Path = True,
        *,
        classes: Sequence[str] | None = None,
        pipeline: ImagePipeline | None = None,
        batch_size: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(model, pretrained, batch_size=batch_size, **options)
        found: object = self.model  # isinstance would narrow what mypy knows of it to a Module
        if not isinstance(found, self.task):
            raise ValueError(
                f'{type(self).__name__} takes a {self.task.__name__}, and this is a '
                f'{type(found).__name__}'
            )
        _require_all(self.loaded)
        _require_finite(self.model)
        number: int = self.model.num_classes
        names = self.loaded.classes or tuple(map(str, range(number)))
        self.classes = list(names if classes is None else classes)
        require_class_names(self.classes, number)
        encoder = self.model.encoder
        self.read = ReadDenseImage(
            encoder.in_channels,
            image_pipeline(self.loaded.config) if pipeline is None else pipeline,
            patch_size=encoder.patch_size,
            largest=_reach(self.model),
            whole_patches=isinstance(self.model, Detector),
        )

    def outputs(
        self, images: Pictures, failed: list[Failure]
    ) -> Iterator[tuple[str, DenseImage, dict[str, Any]]]:
        """Name, image and the model's output for each image that can be read, in their order.

        Args:
            images: see `mae.apis.images.name_images`.
            failed: receives the images that could not be read.
        """
        for names, items in self.read_batches(images, self.read, failed):
            pairs = zip(names, items, strict=True)
            for _, same in groupby(pairs, key=lambda pair: pair[1].inputs.shape):
                group = list(same)
                results = self._predict([image for _, image in group])
                for (name, image), result in zip(group, results, strict=True):
                    yield name, image, result

    def _predict(self, images: Sequence[DenseImage]) -> list[dict[str, Any]]:
        """The output of a batch of one shape, a dict for each image."""
        data = {
            'inputs': torch.stack([image.inputs for image in images]),
            'shapes': torch.tensor([image.shape for image in images]),
            'originals': torch.tensor([image.original for image in images]),
        }
        with torch.inference_mode(), self.precision.autocast():
            batch = self.model.data_preprocessor(data, False)
            outputs: list[dict[str, Any]] = self.model(**batch, mode='predict')
        if 'pred_maps' in outputs[0]:  # one dict for the batch
            return [{'map': found} for found in outputs[0]['pred_maps']]
        return outputs


def image_pipeline(config: Config) -> list[Mapping[str, Any]]:
    """The transforms of the image alone in the test pipeline of a config; none if it has none."""
    for key in ('test_dataloader', 'val_dataloader'):
        dataset = (config.get(key) or {}).get('dataset') or {}
        if 'pipeline' in dataset:
            return [each for each in dataset['pipeline'] if _kind(each) not in _NOT_OF_THE_IMAGE]
    return []


def _kind(transform: Mapping[str, Any]) -> str:
    return str(transform['type']).rpartition('.')[2]


def _reach(model: Any) -> tuple[int, int] | None:
    """The largest image that the encoder's relative positions reach over; None for any."""
    encoder = model.encoder
    limited = any(
        getattr(block, 'rel_pos', None) is not None and not block.window_size
        for block in encoder.blocks
    )
    window = getattr(model, 'window', None)
    if not limited or (window is not None and window <= min(encoder.img_size)):
        return None
    size: tuple[int, int] = encoder.img_size
    return size


def _border(image: Tensor, patch_size: int) -> tuple[int, int, int, int]:
    """Up to whole patches, two at least: the coarsest level of a pyramid halves the grid."""
    height, width = (
        max(side + -side % patch_size, 2 * patch_size) - side for side in image.shape[-2:]
    )
    return 0, width, 0, height


def _require_all(loaded: LoadedModel) -> None:
    missing = loaded.report.missing if loaded.report else []
    if missing:
        raise CheckpointError(
            f'the weights are not of a whole {type(loaded.model).__name__}: {missing[0]} and '
            f'{len(missing) - 1} more would be random; take those of a run of this config'
        )


def _require_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise NonFiniteError(f'{name} holds NaN or infinity: the weights are broken')
