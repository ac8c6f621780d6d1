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
from mae.apis.inference import Failure, Inferencer


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of an image: number, name and probability of each, best first."""

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


class ImageClassifierInferencer(Inferencer):
    """The likeliest classes of each image.

    Args:
        model: of a classifier; see `Inferencer`, like the further options.
        pretrained: see `Inferencer`.
        classes: their names; by default those that the weights bring, ImageNet's for published
            weights of 1000 classes, and else the numbers.
        topk: how many of them to tell.
        options: of `Inferencer`.

    Raises:
        ValueError: the model does not classify, its weights bring no head, or the names are not as
            many as its classes; `topk` is below 1.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module,
        pretrained: bool | str | Path = True,
        *,
        classes: Sequence[str] | None = None,
        topk: int = 5,
        **options: Any,
    ) -> None:
        super().__init__(model, pretrained, **options)
        head = getattr(self.model, 'head', None)
        if head is None or hasattr(head, 'lr_scales'):
            raise ValueError(
                f'a {type(head or self.model).__name__} gives no one class: take a fine-tuned model'
            )
        self.loaded.require_head()
        number = self.model.num_classes
        self.classes = list(classes or self.loaded.classes or self._usual_names(number))
        if len(self.classes) != number:
            raise ValueError(f'{len(self.classes)} names for {number} classes')
        if topk < 1:
            raise ValueError(f'topk must be at least 1, not {topk}')
        self.topk = min(topk, number)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N)."""
        logits: Tensor = self.model(images)
        return logits

    def __call__(self, images: Pictures) -> Predictions:
        """Classes of all images that can be read.

        Raises:
            DataError: none can be read.
        """
        names, logits, failed = self.run(images)
        scores, labels = logits.softmax(dim=1).topk(self.topk)
        rows = zip(names, labels.tolist(), scores.tolist(), strict=True)
        return Predictions(
            [Prediction(name, row, [self.classes[i] for i in row], p) for name, row, p in rows],
            failed,
        )

    def _usual_names(self, number: int) -> list[str]:
        if self.loaded.entry is None or number != 1000:
            return [str(label) for label in range(number)]
        from timm.data.imagenet_info import ImageNetInfo

        known = ImageNetInfo('imagenet-1k')
        return [known.index_to_description(label) for label in range(number)]
