"""What the hooks here use of a runner with a `TrainLoop`, beyond `RunnerProtocol`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from mmengine.runner import BaseLoop
from torch import Tensor

from mae.fault_tolerance.step_report import Reports
from mae.utils.runner_protocol import RunnerProtocol

if TYPE_CHECKING:  # both files hold hooks, which take this runner
    from mae.fault_tolerance.run_json import RunState
    from mae.fault_tolerance.signals import StopSignals


class StepSizes(Protocol):
    """`StepLoader`."""

    def step_size(self, step: int) -> int: ...


class StepLoop(Protocol):
    """`TrainLoop`.

    Attributes:
        dataloader: knows the number of samples of each step.
        left_out: ranges a <= step < b that are not trained on.
        max_steps: length of a run that counts steps; None if it counts epochs.
        reports: queue of step reports that the host has not read yet.
    """

    dataloader: StepSizes
    left_out: list[tuple[int, int]]
    max_steps: int | None
    reports: Reports

    def go_to(self, step: int) -> None: ...


class StepWrapper(Protocol):
    """`StepOptimWrapper`, which documents the attributes."""

    optimizer: torch.optim.Optimizer
    skipped: Tensor
    skips_on_device: bool
    losses: list[Tensor]
    grad_norms: Tensor | None
    grad_norm: Tensor | None

    @property
    def is_scaled(self) -> bool: ...

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def begin_step(self, weights: Sequence[float]) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class TrainingRunner(RunnerProtocol, Protocol):
    """A runner with a `TrainLoop`.

    Attributes:
        signals: received signals that stop the run; None if none are handled.
        run_state: writes `run.json`; None except in the first process of a run that has one.
        suggest_config: returns the name of a config whose model fits some weights, for error
            messages; None: they suggest no config.
        config_origin: returns the name of what the config inherits, and key, value there and value
            here wherever they differ; None: unknown.
    """

    signals: 'StopSignals | None'
    run_state: 'RunState | None'
    optim_wrapper: StepWrapper
    suggest_config: Callable[[Mapping[str, Tensor]], str | None] | None
    config_origin: Callable[[], tuple[str, Sequence[Sequence[str]]]] | None
    _randomness_cfg: dict[str, Any]

    @property
    def stop_signum(self) -> int: ...

    @property
    def train_loop(self) -> StepLoop: ...

    @property
    def val_loop(self) -> BaseLoop | None: ...

    def resume(self, filename: str) -> None: ...

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None: ...
