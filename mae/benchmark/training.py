"""Systems that train: a model, its loss on one batch, an optimizer."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mae.benchmark.job import LEARNING_RATE, Job

Groups = list[dict[str, Any]]


class Trainee(Protocol):
    """What a table needs to know of a system that trains.

    Attributes:
        model: whose parameters are trained.
        switch: the setting of this variant, or ''.
    """

    model: Any
    switch: str

    def loss(self, size: int) -> Tensor:
        """Forward pass of the first `size` images, as in training."""

    def step(self) -> None:
        """Forward, backward, update, on the whole batch."""

    def check(self) -> float:
        """The loss of the batch, before any step, under the masks that all systems are given."""


class Peer:
    """A model of others, in a plain training loop of PyTorch: bf16 autocast and fused AdamW.

    Args:
        job: the comparison.
        model: already with our weights; moved to the device, and compiled where asked for.
        forward: loss of the first `size` images; by default what `model` makes of them.
        check: the loss of all images under the given masks; not compiled, so that looking at it
            leaves the compiled step alone.
        groups: parameter groups of the optimizer; by default vectors are not decayed.
        betas: of AdamW.
        switch: the setting of this variant.
    """

    def __init__(
        self,
        job: Job,
        model: nn.Module,
        *,
        forward: Callable[[int], Tensor],
        check: Callable[[], Tensor],
        groups: Groups | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        switch: str = '',
    ) -> None:
        self.model = job.prepare(model).train()
        self.switch = switch
        self._job = job
        self._forward = forward
        self._check = check
        self._batch_size = job.batch_size
        self._optimizer = torch.optim.AdamW(
            groups or decay_groups(model), lr=LEARNING_RATE, betas=betas, fused=True
        )

    def loss(self, size: int) -> Tensor:
        """Forward pass in the precision of the job."""
        with self._job.autocast():
            return self._forward(size)

    def step(self) -> None:
        """Forward, backward, update."""
        self.loss(self._batch_size).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def check(self) -> float:
        """The loss that must agree with ours."""
        with self._job.autocast():
            return float(self._check().detach())


def decay_groups(model: nn.Module, weight_decay: float = 0.05) -> Groups:
    """Two groups, as the recipe has it: vectors are not decayed."""
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {'params': [p for p in params if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in params if p.ndim <= 1], 'weight_decay': 0.0},
    ]
