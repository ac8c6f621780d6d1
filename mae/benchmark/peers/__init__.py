"""One file a peer: its functions `step`, `finetune`, ... return its variants, by their setting."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mae.benchmark.settings import LEARNING_RATE, Settings

ParamGroups = list[dict[str, Any]]


class TrainingSystem(Protocol):
    """A system whose training step is timed and whose memory is measured.

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
        """The loss of the batch, before any step, under the same masks for all systems."""


class Peer:
    """A model of another library, trained by plain PyTorch: bf16 autocast and fused AdamW.

    Args:
        settings: the comparison.
        model: with our weights; it is moved to the device, and compiled if `settings.compile`.
        forward: loss of the first `size` images; by default `model` computes it.
        check: the loss of all images under the given masks; not compiled, so that looking at it
            leaves the compiled step alone.
        groups: parameter groups of the optimizer; by default vectors are not decayed.
        betas: decay rates of AdamW's two averages.
        switch: the setting of this variant.
    """

    def __init__(
        self,
        settings: Settings,
        model: nn.Module,
        *,
        forward: Callable[[int], Tensor],
        check: Callable[[], Tensor],
        groups: ParamGroups | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        switch: str = '',
    ) -> None:
        self.model = settings.prepare(model).train()
        self.switch = switch
        self._settings = settings
        self._forward = forward
        self._check = check
        self._batch_size = settings.batch_size
        self._optimizer = torch.optim.AdamW(
            groups or decay_groups(model), lr=LEARNING_RATE, betas=betas, fused=True
        )

    def loss(self, size: int) -> Tensor:
        """Forward pass in the precision of the comparison."""
        with self._settings.autocast():
            return self._forward(size)

    def step(self) -> None:
        """Forward, backward, update."""
        self.loss(self._batch_size).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def check(self) -> float:
        """The loss that must agree with ours."""
        with self._settings.autocast():
            return float(self._check().detach())


def decay_groups(model: nn.Module, weight_decay: float = 0.05) -> ParamGroups:
    """Two groups, as the recipe has it: vectors are not decayed."""
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {'params': [p for p in params if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in params if p.ndim <= 1], 'weight_decay': 0.0},
    ]


Rules = Iterable[tuple[str, str]]


def renamed(weights: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Copies of `weights`, each name rewritten by all rules in turn.

    Args:
        weights: ours, by name.
        rules: pairs of a regular expression and what takes its place.
    """
    found = {}
    for name, value in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = value.clone()
    return found
