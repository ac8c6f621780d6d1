"""What all teachers share: frozen models whose features can be predicted.

None is an `nn.Module`, so that their weights are in no checkpoint, optimizer or gradient bucket,
and no `train()` reaches them.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mae.utils.digest import weights_sha256


class Teacher(ABC):
    """A model that is loaded at its first forward pass, and never trained.

    Attributes:
        embed_dim: D.
        patch_size: side in pixels of the part of its input that one feature stands for.
        in_channels: number of channels of its input.
        mean: mean of each channel of its input in grey levels, or None if unknown.
        std: standard deviation of each channel in grey levels, or None as `mean`.
    """

    embed_dim: int
    patch_size: int
    in_channels: int
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __init__(self) -> None:
        self._model: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Teacher':
        return self  # frozen: a copy of the model, as an average of weights has, shares it

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, L, D) of images (B, C, H, W), in the teacher's normalisation.

        Raises:
            ValueError: its weights cannot be read, or it takes no images of this size.
        """
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        if images.is_meta:  # meta tensors have shapes, no values
            return images.new_empty(len(images), grid[0] * grid[1], self.embed_dim)
        model = self._on(images.device)
        dtype = next(model.parameters()).dtype
        features = self._features(model, images.to(dtype), grid)
        if features.shape[1:] != (grid[0] * grid[1], self.embed_dim):
            raise ValueError(
                f'the teacher {self} gives features {tuple(features.shape[1:])}, not one of width '
                f'{self.embed_dim} for each of {grid[0]}x{grid[1]} patches'
            )
        return features

    def fingerprint(self) -> str:
        """SHA-256 of its weights, by name.

        Raises:
            ValueError: they cannot be read.
        """
        return weights_sha256(self._on(None).state_dict())

    def check_size(self, size: tuple[int, int]) -> None:  # noqa: B027  (most take any)
        """Raises ValueError if it takes no images of `size` (H, W)."""

    @abstractmethod
    def _load(self) -> nn.Module:
        """The model with its weights, on the CPU."""

    @abstractmethod
    def _features(self, model: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, C, H, W) to (B, L, D)."""

    def _on(self, device: torch.device | None) -> nn.Module:
        """The model, loaded at the first call; moved to `device` unless that is None."""
        if self._model is None:
            # Random numbers that a library draws for weights before it loads them must not change
            # the run. A model loaded in inference mode, for pictures, may later serve in training.
            draws, place = torch.random.fork_rng(devices=[]), torch.device('cpu')
            with draws, place, torch.inference_mode(False):
                # A file in half precision must not decide how targets are rounded.
                self._model = self._load().float().eval().requires_grad_(False)
        if device is not None and next(self._model.parameters()).device != device:
            self._model.to(device)
        return self._model
