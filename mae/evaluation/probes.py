"""What may be asked of features that are computed already, besides the k-NN of `KNNLoop`.

Shapes: M images of the bank, B queries, D width, N classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.evaluation.knn import knn_scores
from mae.registry import METRICS

Scorer = Callable[[Tensor], Tensor]


@METRICS.register_module()
class KNNProbe:
    """Nearest neighbours with another k or temperature.

    Args:
        k: neighbours that vote.
        temperature: of the votes; None counts each as 1.
    """

    def __init__(self, k: int = 20, temperature: float | None = 0.07) -> None:
        self.k = k
        self.temperature = temperature

    @property
    def name(self) -> str:
        """Starts the names of its metrics."""
        return f'knn_k{self.k}_t{"none" if self.temperature is None else f"{self.temperature:g}"}'

    def fit(self, bank: Tensor, labels: Tensor) -> Scorer:
        """A function of queries (B, D) to scores (B, N).

        Raises:
            ValueError: k is not between 1 and M.
        """
        num_classes, k = int(labels.max()) + 1, self.k
        if not 1 <= k <= len(bank):
            raise ValueError(
                f'KNNProbe.k={k} must lie between 1 and the {len(bank)} images of the bank'
            )
        bank = F.normalize(bank, dim=1)
        return lambda queries: knn_scores(
            queries, bank, labels, num_classes=num_classes, k=k, temperature=self.temperature
        )


@METRICS.register_module()
class LinearProbe:
    """Multinomial logistic regression on the features as they are, without augmentation.

    Not the linear probe of the papers, which augments its images: cheaper by the number of its
    epochs, and to be compared only with itself. Minimises the mean cross entropy plus
    l2 / 2 |W|^2 by L-BFGS from zero, on features of mean 0 and deviation 1, in float32 (float64 if
    the features are): a function of the features alone.

    Args:
        l2: of the weights, not of the biases. scikit-learn's C is 1 / (l2 M).
        max_iter: most iterations of L-BFGS.
        chunk_size: images of the bank whose logits are in memory at a time.

    Raises:
        ValueError: `l2` is negative, or a count below 1.
    """

    def __init__(self, l2: float = 1e-4, *, max_iter: int = 200, chunk_size: int = 65536) -> None:
        if l2 < 0 or max_iter < 1 or chunk_size < 1:
            raise ValueError(
                'LinearProbe needs l2 >= 0, max_iter >= 1 and chunk_size >= 1, not '
                f'{l2}, {max_iter} and {chunk_size}'
            )
        self.l2 = l2
        self.max_iter = max_iter
        self.chunk_size = chunk_size

    @property
    def name(self) -> str:
        """Starts the names of its metrics."""
        return f'linear_l2_{self.l2:g}'

    def fit(self, bank: Tensor, labels: Tensor) -> Scorer:
        """A function of queries (B, D) to logits (B, N)."""
        bank = bank.to(torch.promote_types(bank.dtype, torch.float32))
        mean, std = bank.mean(0), bank.std(0, correction=0) + 1e-6
        weight = bank.new_zeros(bank.shape[1] + 1, int(labels.max()) + 1)  # D+1,N: biases last
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
            # By hand: what is computed in inference mode cannot be differentiated.
            loss = 0.5 * self.l2 * weight[:-1].square().sum()
            weight.grad = self.l2 * weight
            weight.grad[-1] = 0
            parts = bank.split(self.chunk_size), labels.split(self.chunk_size)
            for x, y in zip(*parts, strict=True):
                logits = logits_of(x)
                loss = loss + F.cross_entropy(logits, y, reduction='sum') / len(bank)
                error = (logits.softmax(1) - F.one_hot(y, weight.shape[1])) / len(bank)
                weight.grad[:-1] += ((x - mean) / std).T @ error
                weight.grad[-1] += error.sum(0)
            return loss

        optimizer.step(closure)
        return lambda queries: logits_of(queries.to(bank.dtype))
