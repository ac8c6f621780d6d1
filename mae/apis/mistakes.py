"""Pictures of a classifier's results on the test images of its config.

Shapes: B images of a batch, M in all, N classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from mae.apis.classify import ImageClassifierInferencer
from mae.apis.zoo import load_model
from mae.engine import Runner
from mae.evaluation import PerClass
from mae.evaluation.checks import is_count
from mae.utils.command_line import progress_bar
from mae.utils.errors import ConfigError, DataError, NonFiniteError
from mae.utils.text import printable
from mae.visualization.panels import as_pixels
from mae.visualization.per_class import confusion_picture, mistakes_picture


@dataclass(frozen=True)
class Mistake:
    """A test image and what a classifier says of it.

    Attributes:
        id: number of the sample.
        name: path of the image, or its number.
        label, prediction: numbers of the classes.
        loss: cross-entropy of the label, without smoothing.
        score: probability of the prediction, 0 to 1.
    """

    id: int
    name: str
    label: int
    prediction: int
    loss: float
    score: float


class TestImages:
    """The test images of a config and a classifier for them.

    Args:
        config: of a classifier, with a `test_dataloader`.
        checkpoint: weights with their head: a path, a name of `list_models`, or an address.
        device: such as 'cpu' or 'cuda:1'.

    Raises:
        ConfigError: the config describes no test.
        ValueError: the model gives no one class, the weights bring no head, or the data cannot be
            used.
    """

    __test__ = False  # not a test of pytest's

    def __init__(
        self, config: str | Path | Config, checkpoint: str | Path, *, device: str = 'cpu'
    ) -> None:
        loaded = load_model(config, checkpoint, device=device)
        self.classifier = ImageClassifierInferencer(loaded, device=device)
        options = loaded.config.get('test_dataloader')
        if not options:
            name = getattr(loaded.config, 'filename', None) or 'the config'
            raise ConfigError(f'{name} describes no test: it has no test_dataloader')
        self.loader: DataLoader[Any] = Runner.build_dataloader(options)
        metainfo = getattr(self.dataset, 'metainfo', {})
        # Of the data where it has a name, which may be of fewer classes than the head's.
        own = self.classifier.classes
        names = [str(name) for name in metainfo.get('classes') or ()][: len(own)]
        self.classes = [*names, *own[len(names) :]]

    @property
    def dataset(self) -> Any:
        """That of the loader."""
        return self.loader.dataset

    def __iter__(self) -> Iterator[tuple[Mapping[str, Any], dict[str, Tensor]]]:
        """Batches, each with its logits (B, N) and labels (B,).

        Raises:
            NonFiniteError: logits are NaN or infinite.
        """
        model, precision = self.classifier.model, self.classifier.precision
        for batch in progress_bar(self.loader, 'test images'):
            with torch.no_grad(), precision.autocast():
                (output,) = model(**model.data_preprocessor(batch, False), mode='predict')
            if not output['logits'].isfinite().all():
                raise NonFiniteError(
                    'the logits of test images are NaN or infinite: the weights are broken, or the '
                    'numbers too large for their type'
                )
            yield batch, output


def draw_confusion(images: TestImages) -> Image.Image:
    """A row for each label, shaded by the share of its images that have each prediction.

    Raises:
        DataError: no image has a label, or there are too many classes for a matrix.
    """
    return confusion_picture(confusion_counts(images), images.classes)


def confusion_counts(images: TestImages) -> list[list[int]]:
    """Numbers of images, N lists of N: labels by predictions. A tie counts against the label.

    Raises:
        DataError: as of `draw_confusion`.
        ValueError: `images` are no `TestImages`.
    """
    _require_images(images)
    metric = PerClass()
    for batch, output in images:
        metric.process(batch, [output])
    metric.evaluate(len(images.dataset))
    assert metric.table is not None
    counts: list[list[int]] | None = metric.table['confusion']
    if counts is None:
        raise DataError(f'{len(images.classes)} classes are too many for a matrix of all pairs')
    return counts


def draw_mistakes(images: TestImages, num: int = 24) -> Image.Image:
    """The misclassified images with the highest loss, each with its label and its prediction.

    Raises:
        DataError: there is no mistake, or the images have neither 1 nor 3 channels.
    """
    return mistakes_sheet(worst_mistakes(images, num), images)


def mistakes_sheet(mistakes: list[Mistake], images: TestImages) -> Image.Image:
    """These mistakes as `draw_mistakes` shows them.

    Raises:
        DataError: as of `draw_mistakes`.
    """
    if not mistakes:
        raise DataError('there is no mistake to draw: all images with a label are classified right')
    names = [printable(str(name)) for name in images.classes]
    pixels = [as_pixels(images.dataset[mistake.id]['inputs']) for mistake in mistakes]
    captions = [
        (names[each.label], f'as {names[each.prediction]}, loss {each.loss:.2f}')
        for each in mistakes
    ]
    return mistakes_picture(pixels, captions)


def worst_mistakes(images: TestImages, num: int = 24) -> list[Mistake]:
    """The misclassified images with the highest loss, that first; of equal ones the lower id.

    Raises:
        ValueError: `num` is no count, or `images` are no `TestImages`.
    """
    if not is_count(num):
        raise ValueError(f'num must be a whole number from 1 on, not {num!r}')
    _require_images(images)
    worst = torch.empty(0, 5, dtype=torch.float64)
    for batch, output in images:
        found = _losses(batch, output)
        rows = torch.cat([worst, found[found[:, 2] != found[:, 3]]])
        rows = rows[rows[:, 1].argsort(stable=True)]
        worst = rows[rows[:, 0].argsort(stable=True, descending=True)][:num]
    return [
        Mistake(int(id_), images.dataset.name(int(id_)), int(label), int(prediction), loss, score)
        for loss, id_, label, prediction, score in worst.tolist()
    ]


def _require_images(images: object) -> None:
    if not isinstance(images, TestImages):
        raise ValueError(f'give TestImages(config, checkpoint), not a {type(images).__name__}')


def _losses(batch: Mapping[str, Any], output: Mapping[str, Tensor]) -> Tensor:
    """A row (loss, id, label, prediction, score) of each image with a label."""
    logits, labels = output['logits'].double().cpu(), output['labels'].cpu()
    known = (labels >= 0) & (labels < logits.shape[1])
    logits, labels, ids = logits[known], labels[known], batch['ids'].cpu()[known]
    score, prediction = logits.softmax(1).max(1)
    loss = F.cross_entropy(logits, labels, reduction='none')
    return torch.stack([loss, ids.double(), labels.double(), prediction.double(), score], 1)
