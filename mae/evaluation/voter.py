"""A bank of labelled images whose features vote on those of others."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import DataLoader

from mae.evaluation.checks import check_temperature, is_count
from mae.evaluation.features import feature_bank, features_of
from mae.evaluation.probes import KNNProbe
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
        ConfigError: k exceeds the number of training images, or the temperature is not positive.
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
        if not is_count(k) or k > size:
            raise ConfigError(
                f'{where}.k={k} must lie between 1 and the {size} images of {where}.bank_dataloader'
            )
        check_temperature(temperature, f'{where}.temperature')
        self.k = k
        self.temperature = temperature
        self.pool = pool

    def bank(self) -> tuple[Tensor, Tensor]:
        """Features (M, D) and labels (M,) of the bank: one pass over its images.

        Raises:
            ConfigError: an image has no label.
        """
        bank, labels = feature_bank(self.runner.model, self.loader, self.pool)
        if labels.min() < 0:
            raise ConfigError('k-NN needs labels: an image of the bank_dataloader has none')
        return bank, labels

    def votes(
        self, bank: tuple[Tensor, Tensor], batches: Iterable[dict[str, Tensor]]
    ) -> Iterable[dict[str, Tensor]]:
        """`logits` (B, N), `pred_score` (B, N), `labels` (B,), `features` (B, D) of each batch.

        The logits are votes, the scores their shares: a softmax of votes would mean nothing.
        """
        features, labels = bank
        scorer = KNNProbe(self.k, self.temperature).fit(features, labels)
        for batch in batches:
            queries, truth = features_of(self.runner.model, batch, self.pool)
            votes = scorer(queries)
            shares = votes / votes.sum(dim=1, keepdim=True)
            output = {'logits': votes, 'pred_score': shares, 'labels': truth, 'features': queries}
            yield {**output, 'ids': batch['ids']} if 'ids' in batch else output
