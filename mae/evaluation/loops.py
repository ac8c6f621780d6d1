"""mmengine's loops over a data set to evaluate, in inference mode: nothing is kept for gradients.

mmengine's own run under `no_grad`, which still counts versions and views of every tensor.
"""

import torch
from mmengine.runner import TestLoop as MMTestLoop
from mmengine.runner import ValLoop as MMValLoop

from mae.registry import LOOPS


@LOOPS.register_module()
class ValLoop(MMValLoop):
    """Validation during training, at the batch size of `val_dataloader`."""

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Evaluate once; whole in inference mode, as the metrics' counts may not leave it."""
        metrics: dict[str, float] = super().run()
        return metrics


@LOOPS.register_module()
class TestLoop(MMTestLoop):
    """Testing, at the batch size of `test_dataloader`."""

    __test__ = False  # not a test of pytest's

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Evaluate once."""
        metrics: dict[str, float] = super().run()
        return metrics
