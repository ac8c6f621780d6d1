"""Pictures of a model's predictions: of images, or of a config's own dataset beside the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mae.apis.dense import DenseInferencer
from mae.apis.detect import DetectionInferencer
from mae.apis.images import Pictures
from mae.apis.inference import Failure, report_failures
from mae.apis.segment import SegmentationInferencer
from mae.apis.zoo import load_model
from mae.datasets import collate_dense
from mae.registry import DATASETS
from mae.utils.errors import ConfigError
from mae.visualization.dense import DenseView, views_of


def dense_inferencer(
    model: str | Path, pretrained: bool | str | Path = True, **options: Any
) -> DenseInferencer:
    """The inferencer of the model's task.

    Args:
        model: as for `Inferencer`.
        pretrained: as for `Inferencer`.
        options: of `DenseInferencer`.

    Raises:
        ValueError: the model is neither a segmenter nor a detector.
    """
    loaded = load_model(model, pretrained, device=options.get('device', 'cpu'))
    for kind in (SegmentationInferencer, DetectionInferencer):
        if isinstance(loaded.model, kind.task):
            return kind(loaded, **options)
    raise ValueError(
        f'{model} is a {type(loaded.model).__name__}: only a Segmenter or a Detector predicts what '
        'is drawn over images'
    )


def view_images(
    inferencer: DenseInferencer, images: Pictures, *, min_score: float = 0.5
) -> list[DenseView]:
    """A view of each image that can be read.

    Args:
        inferencer: the model.
        images: see `mae.apis.images.name_images`.
        min_score: of a detection that is drawn, 0 to 1.

    Raises:
        DataError: none can be read.
    """
    failed: list[Failure] = []
    views = []
    for name, image, output in inferencer.outputs(images, failed):
        if 'map' in output:
            output = {'pred_maps': [output['map']]}
        (view,) = views_of({'inputs': image.pixels[None]}, [output], min_score=min_score)
        views.append(DenseView(view.image, view.found, caption=name))
    report_failures(len(views), failed)
    return views


def view_dataset(
    inferencer: DenseInferencer, numbers: Sequence[int], *, min_score: float = 0.5
) -> list[DenseView]:
    """Views of samples of the config's test or validation dataset, with the truth.

    Args:
        inferencer: the model, built from a config.
        numbers: of the samples, from 0.
        min_score: of a detection that is drawn, 0 to 1.

    Raises:
        ConfigError: the config has no such dataset, or fewer samples.
        DataError: a sample cannot be read.
    """
    config = inferencer.loaded.config
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    if not loader:
        raise ConfigError('the config has no test_dataloader and no val_dataloader: give images')
    dataset = DATASETS.build(loader['dataset'])
    if max(numbers) >= len(dataset):
        raise ConfigError(f'sample {max(numbers)} of a dataset of {len(dataset)} samples')
    views = []
    for number in numbers:
        batch = collate_dense([dataset[number]])
        with torch.inference_mode(), inferencer.precision.autocast():
            data = inferencer.model.data_preprocessor(batch, False)
            outputs = inferencer.model(**data, mode='predict')
        (view,) = views_of(batch, outputs, min_score=min_score)
        views.append(DenseView(view.image, view.found, view.truth, dataset.name(number)))
    return views
