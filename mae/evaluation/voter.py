"""A bank of labelled images whose features vote on those of others."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import DataLoader

from mae.evaluation.features import feature_bank, features_of
from mae.evaluation.knn import knn_scores
from mae.utils.errors import ConfigError

Loader = DataLoader[Any] | Mapping[str, Any]
Pool = Literal['avg', 'cls']


class Voter:
    """A bank of images that votes on others.

    Args:
        runner: the runner, whose model gives the features.
        bank_dataloader: of the training images, each read once.
        where: the config key of these arguments, for messages.
        k: neighbours that vote.
        temperature: of the votes; None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.

    Raises:
        ConfigError: k exceeds the number of training images.
    """

    def __init__(
        self,
        runner: Any,
        bank_dataloader: Loader,
        where: str,
        *,
        k: int,
        temperature: float | None,
        pool: Pool,
    ) -> None:
        self.runner = runner
        self.loader = runner.build_dataloader(bank_dataloader, seed=runner.seed)
        size = len(self.loader.dataset)
        if not 1 <= k <= size:
            raise ConfigError(
                f'{where}.k={k} must lie between 1 and the {size} images of {where}.bank_dataloader'
            )
        self.k = k
        self.temperature = temperature
        self.pool = pool

    def votes(self, batches: Iterable[dict[str, Tensor]]) -> Iterable[dict[str, Tensor]]:
        """`logits` (B, N) and `labels` (B,) of each batch of images."""
        model = self.runner.model
        bank, bank_labels = feature_bank(model, self.loader, self.pool)
        num_classes = int(bank_labels.max()) + 1
        if bank_labels.min() < 0:
            raise ConfigError('k-NN needs labels: an image of the bank_dataloader has none')
        for batch in batches:
            features, labels = features_of(model, batch, self.pool)
            scores = knn_scores(
                features,
                bank,
                bank_labels,
                num_classes=num_classes,
                k=self.k,
                temperature=self.temperature,
            )
            yield {'logits': scores, 'labels': labels}
