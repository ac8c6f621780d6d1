"""What all systems of a comparison have in common."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mae.benchmark.measure import machine_facts

DTYPES = {'bfloat16': torch.bfloat16, 'float32': torch.float32}
# A rate at which thousands of steps on one random batch stay finite; of no meaning to the speed.
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Settings:
    """Settings of one comparison.

    Attributes:
        config: our config; the peers get a model of the same shape.
        batch_size: images in a step.
        device: device of all systems.
        dtype: bfloat16 by autocast, or float32 throughout.
        compile: ours as the config switch `compile` does it, the peers' models whole.
        cuda_graph: ours as the config switch `cuda_graph` does it; the peers are as they are.
        seed: seed of weights, images and masks.
        cpu_time: seconds of the processor in the place of the clock's, on a CPU that others use.
    """

    config: Config
    batch_size: int
    device: torch.device
    dtype: torch.dtype
    compile: bool = False
    cuda_graph: bool = False
    seed: int = 0
    cpu_time: bool = False

    @property
    def name(self) -> str:
        """Name of the config."""
        return Path(self.config.filename or 'config').stem

    @property
    def least_batch(self) -> int:
        """Images of a step at least: what a segmenter pools to one pixel has no spread in one."""
        return 2 if self.config.model['type'] == 'Segmenter' else 1

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of every comparison."""
        machine = machine_facts(self.device)
        return {'machine': machine, 'config': self.name, 'batch_size': self.batch_size}

    def require_training(self, algorithm: str = '') -> None:
        """Refuse a config of another kind.

        Args:
            algorithm: required type of its model; '' takes any.

        Raises:
            ValueError: it describes no training, or that of another model.
        """
        found = self.config.model['type']
        if algorithm not in ('', found):
            raise ValueError(f'--config {self.name}: its model is a {found}, not a {algorithm}')
        if not (self.config.get('train_dataloader') and self.config.get('optim_wrapper')):
            raise ValueError(f'--config {self.name} describes no training; give one that does')
        if self.batch_size < self.least_batch:
            raise ValueError(f'--batch must be at least {self.least_batch} for a {found}')

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        lower = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=lower)

    def prepare(self, model: nn.Module) -> nn.Module:
        """A peer's model, to the device and, if asked for, compiled whole with static shapes."""
        model.to(self.device)
        if self.compile:
            model.compile(dynamic=False)
        return model
