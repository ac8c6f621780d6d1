"""Classes of images of any kind.

Shapes: B images of a batch, M in all, C channels, H W pixels, N classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mae.apis.images import Pictures
from mae.apis.inference import Failure, TensorInferencer
from mae.apis.zoo import LoadedModel, require_class_names
from mae.evaluation.checks import is_count
from mae.models.algorithms import Detector, Segmenter
from mae.utils.errors import NonFiniteError


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of an image: number, name and probability of each, best first.

    Of equally likely ones the smaller number comes first.
    """

    name: str
    labels: list[int]
    classes: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Predictions:
    """Result of an `ImageClassifierInferencer`, in the order of the images.

    Attributes:
        images: the M predictions.
        failed: images that could not be read, and are not among the M.
    """

    images: list[Prediction]
    failed: list[Failure] = field(default_factory=list)


class ImageClassifierInferencer(TensorInferencer):
    """The likeliest classes of each image.

    Args:
        model: a classifier, as for `Inferencer`.
        pretrained: as for `Inferencer`.
        classes: names in the order of the outputs; None takes those stored with the weights,
            ImageNet's for published weights of 1000 classes, else the numbers.
        topk: classes listed for an image, at least 1; all where the model has fewer.
        options: other arguments of `Inferencer`.

    Raises:
        ValueError: the model does not classify, its weights hold no head, the number of names is
            not that of the classes, or `topk` is not a whole number from 1 on.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module | LoadedModel,
        pretrained: bool | str | Path = True,
        *,
        classes: Sequence[str] | None = None,
        topk: int = 5,
        **options: Any,
    ) -> None:
        if not is_count(topk):
            raise ValueError(f'topk must be a whole number from 1 on, not {topk!r}')
        super().__init__(model, pretrained, **options)
        if isinstance(self.model, Segmenter | Detector):
            kind = type(self.model).__name__
            raise ValueError(
                f'a {kind} gives no one class: take SegmentationInferencer or DetectionInferencer'
            )
        head = getattr(self.model, 'head', None)
        if head is None or hasattr(head, 'lr_scales'):
            raise ValueError(
                f'a {type(head or self.model).__name__} gives no one class: take a fine-tuned model'
            )
        self.loaded.require_head()
        number = self.model.num_classes
        if classes is None:
            classes = self.loaded.class_names() or [str(label) for label in range(number)]
        self.classes = list(classes)
        require_class_names(self.classes, number)
        self.topk = min(topk, number)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N)."""
        logits: Tensor = self.model(images)
        return logits

    def __call__(self, images: Pictures) -> Predictions:
        """Classes of all images that can be read.

        Raises:
            DataError: none can be read.
            NonFiniteError: the logits are NaN or infinite.
        """
        names, logits, failed = self.run(images)
        broken = (~logits.isfinite().all(dim=1)).nonzero().flatten().tolist()
        if broken:
            raise NonFiniteError(
                f'the logits of {len(broken)} of {len(names)} images are NaN or infinite, of '
                f'{names[broken[0]]} first: the weights are broken, or the numbers too large for '
                'their type'
            )
        # By the logits: probabilities too small for a float are equal.
        labels = logits.sort(dim=1, descending=True, stable=True).indices[:, : self.topk]
        scores = logits.softmax(dim=1).gather(1, labels)
        rows = zip(names, labels.tolist(), scores.tolist(), strict=True)
        return Predictions(
            [Prediction(name, row, [self.classes[i] for i in row], p) for name, row, p in rows],
            failed,
        )
