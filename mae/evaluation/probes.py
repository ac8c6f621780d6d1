"""Further classifiers of features that `KNNLoop` has computed already.

Shapes: M images of the bank, B queries, D width, N classes.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.evaluation.checks import (
    check_bank,
    check_finite,
    check_queries,
    check_temperature,
    is_count,
    is_number,
)
from mae.evaluation.knn import unit, votes
from mae.registry import METRICS
from mae.utils.errors import ConfigError, NonFiniteError

Scorer = Callable[[Tensor], Tensor]


@METRICS.register_module()
class KNNProbe:
    """Nearest neighbours with another k or temperature.

    Args:
        k: number of neighbours, 1 to the number of images in the bank.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1.

    Raises:
        ConfigError: k is below 1, or the temperature not positive.
    """

    def __init__(self, k: int = 20, temperature: float | None = 0.07) -> None:
        if not is_count(k):
            raise ConfigError(f'KNNProbe.k must be a whole number from 1 on, not {k!r}')
        check_temperature(temperature, 'KNNProbe.temperature')
        self.k = k
        self.temperature = temperature

    @property
    def name(self) -> str:
        """Prefix of the names of its metrics."""
        return f'knn_k{self.k}_t{"none" if self.temperature is None else f"{self.temperature:g}"}'

    def fit(self, bank: Tensor, labels: Tensor) -> Scorer:
        """A function of queries (B, D) to votes (B, N), see `knn_scores`.

        Args:
            bank: float features (M, D).
            labels: whole numbers (M,).

        Raises:
            ValueError: k exceeds M, shapes or types do not fit together, or a feature is NaN or
                infinite.
        """
        check_bank(bank, labels)
        if self.k > len(bank):
            raise ValueError(
                f'KNNProbe.k={self.k} must lie between 1 and the {len(bank)} images of the bank'
            )
        bank = unit(bank)
        check_finite(bank, labels)
        return partial(
            votes,
            bank=bank,
            bank_labels=labels,
            num_classes=int(labels.max()) + 1,
            k=self.k,
            temperature=self.temperature,
        )


@METRICS.register_module()
class LinearProbe:
    """Multinomial logistic regression on the features as they are, without augmentation.

    Not the linear probe of the papers, which augments its images: cheaper by the number of its
    epochs, and to be compared only with itself. Minimises the mean cross entropy plus
    l2 / 2 |W|^2 by L-BFGS from zero, on features of mean 0 and deviation 1, in float32 (float64 if
    the features are): a function of the features alone.

    Args:
        l2: penalty of the weights, not of the biases, at least 0. scikit-learn's C is 1 / (l2 M).
        squared: False penalises l2 |W|, the norm itself, as OmniBenchmark's code does.
        standardize: False takes the features as they are.
        max_iter: upper limit of L-BFGS iterations.
        chunk_size: images of the bank whose logits are in memory at a time, at least 1.

    Raises:
        ValueError: `l2` is negative or no number of float32, or a count below 1.
    """

    def __init__(
        self,
        l2: float = 1e-4,
        *,
        squared: bool = True,
        standardize: bool = True,
        max_iter: int = 200,
        chunk_size: int = 65536,
    ) -> None:
        valid = is_number(l2) and 0 <= l2 <= torch.finfo(torch.float32).max
        if not valid or not is_count(max_iter) or not is_count(chunk_size):
            raise ValueError(
                'LinearProbe needs l2 >= 0, max_iter >= 1 and chunk_size >= 1, not '
                f'{l2!r}, {max_iter!r} and {chunk_size!r}'
            )
        self.l2 = l2
        self.squared = squared
        self.standardize = standardize
        self.max_iter = max_iter
        self.chunk_size = chunk_size

    @property
    def name(self) -> str:
        """Prefix of the names of its metrics."""
        kind = '' if self.squared else '_norm'
        return f'linear{kind}_l2_{self.l2:g}' + ('' if self.standardize else '_raw')

    def fit(self, bank: Tensor, labels: Tensor, num_classes: int | None = None) -> Scorer:
        """A function of queries (B, D) to logits (B, N).

        Args:
            bank: float features (M, D).
            labels: whole numbers (M,).
            num_classes: N, above all labels; None takes as many as the labels have.

        Raises:
            ValueError: shapes or types do not fit together, or a feature is NaN or infinite.
        """
        check_bank(bank, labels)
        check_finite(bank, labels)
        bank, labels = bank.to(torch.promote_types(bank.dtype, torch.float32)), labels.long()
        mean, std = bank.mean(0), bank.std(0, correction=0) + 1e-6
        if not self.standardize:
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        if not torch.stack([mean, std]).isfinite().all():
            raise NonFiniteError('the features of the bank are too large for their type')
        num_classes = num_classes or int(labels.max()) + 1
        weight = bank.new_zeros(bank.shape[1] + 1, num_classes)  # D+1,N: biases last
        optimizer = torch.optim.LBFGS(
            [weight],
            max_iter=self.max_iter,
            history_size=10,
            tolerance_grad=1e-7,
            line_search_fn='strong_wolfe',
        )

        def logits_of(features: Tensor) -> Tensor:
            return torch.addmm(weight[-1], (features - mean) / std, weight[:-1])

        def closure() -> Tensor:
            # Gradients by formula: autograd does not record in inference mode.
            loss = weight.new_zeros(())
            weight.grad = torch.zeros_like(weight)
            parts = bank.split(self.chunk_size), labels.split(self.chunk_size)
            for x, y in zip(*parts, strict=True):
                logits = logits_of(x)
                loss = loss + F.cross_entropy(logits, y, reduction='sum') / len(bank)
                error = (logits.softmax(1) - F.one_hot(y, weight.shape[1])) / len(bank)
                weight.grad[:-1] += ((x - mean) / std).T @ error
                weight.grad[-1] += error.sum(0)
            return loss + self._penalise(weight[:-1], weight.grad[:-1])

        optimizer.step(closure)

        def score(queries: Tensor) -> Tensor:
            check_queries(queries, bank)
            return logits_of(queries.to(bank.dtype))

        return score

    def _penalise(self, weight: Tensor, grad: Tensor) -> Tensor:
        """The penalty of the weights; adds its gradient to theirs in place."""
        if self.squared:
            grad += self.l2 * weight
            return 0.5 * self.l2 * weight.square().sum()
        norm: Tensor = torch.linalg.vector_norm(weight)
        if norm > 0:
            grad += self.l2 / norm * weight
        else:  # the subgradient of least norm: 0 where the penalty outweighs the loss
            length = torch.linalg.vector_norm(grad).clamp_min(torch.finfo(grad.dtype).tiny)
            grad *= (1 - self.l2 / length).clamp_min(0)
        return self.l2 * norm
