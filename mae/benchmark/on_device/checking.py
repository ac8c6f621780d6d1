"""What the checks of a device share: where they run, and how they are called."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mae.apis import load_config
from mae.benchmark.report import Figures
from mae.benchmark.settings import DTYPES, Settings
from mae.benchmark.worker import reason
from mae.utils.files import write_json

MINI = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
MINI_FINETUNE = 'vit-mini-p4_ft-1xb128-coslr-40e_digits-16'
BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
LARGE = 'mae_vit-large-p16_8xb512-amp-coslr-400e_in1k'
HUGE = 'mae_vit-huge-p14_8xb512-amp-coslr-400e_in1k'
Check = tuple[str, Callable[[], Figures]]
_OUT_OF_TIME = 'not reached'


@dataclass(frozen=True)
class CheckedDevice:
    """Where checks run, and how much they do.

    Attributes:
        device: a GPU, or a CPU, on which what only a GPU has is left out.
        quick: models and numbers so small that only the logic is tried.
        folder: for what they write; removed afterwards.
    """

    device: torch.device
    quick: bool
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == 'cuda'

    def settings(
        self, config: str, batch: int, dtype: str = 'bfloat16', **options: Any
    ) -> Settings:
        """A training on the device; quick takes the smallest model and four images.

        Args:
            config: name of a shipped config.
            batch: images of a step.
            dtype: a key of `DTYPES`.
            options: 'compile' and 'cuda_graph', and dotted config keys under 'changes'.
        """
        changes = options.pop('changes', {})
        if self.quick:
            config, batch = MINI_FINETUNE if '_ft-' in config else MINI, 4
        return Settings(load_config(config, changes), batch, self.device, DTYPES[dtype], **options)


class UnfulfilledError(ValueError):
    """What a check expects does not hold; the figures that show it.

    Args:
        figures: of the check.
    """

    def __init__(self, figures: Figures) -> None:
        super().__init__(', '.join(f'{name} {value}' for name, value in figures.items()))
        self.figures = figures


def perform(checks: Iterable[Check], path: Path) -> bool:
    """Call all checks, each whatever happened to the others.

    The file is written anew after each, so that it holds what was found if time runs out.

    Args:
        checks: by name.
        path: of the JSON file.

    Returns:
        Whether all of them hold.
    """
    named = list(checks)
    found: dict[str, Figures] = {name: {'status': _OUT_OF_TIME} for name, _ in named}
    for name, check in named:
        print(f'{name} ...', flush=True)
        start = time.perf_counter()
        try:
            found[name] = {'status': 'ok', **check()}
        except UnfulfilledError as error:
            found[name] = {'status': 'failed', 'reason': str(error)[:200], **error.figures}
        except Exception as error:  # whatever a device does not do must not end the others
            found[name] = {'status': 'failed', 'reason': reason(error)}
        found[name]['seconds'] = time.perf_counter() - start
        print(f'{name}: {found[name]}', flush=True)
        write_json(path, found)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return all(figures['status'] == 'ok' for figures in found.values())
