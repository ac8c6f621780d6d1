"""mmengine's validation and test loops, in inference mode.

mmengine runs them under `no_grad`, which still counts versions and views of every tensor.
"""

from typing import Any

import torch
from mmengine.evaluator import Evaluator as MMEvaluator
from mmengine.runner import TestLoop as MMTestLoop
from mmengine.runner import ValLoop as MMValLoop

from mae.evaluation.evaluator import Evaluator
from mae.registry import LOOPS


@LOOPS.register_module()
class ValLoop(MMValLoop):
    """Validation during training, at the batch size of `val_dataloader`."""

    evaluator: MMEvaluator

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.evaluator = _evaluator(self.evaluator)

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Evaluate once, all in inference mode, as the metrics' counts are inference tensors."""
        metrics: dict[str, float] = super().run()
        return metrics


@LOOPS.register_module()
class TestLoop(MMTestLoop):
    """Testing, at the batch size of `test_dataloader`."""

    __test__ = False  # not a test of pytest's

    evaluator: MMEvaluator

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.evaluator = _evaluator(self.evaluator)

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Evaluate once."""
        metrics: dict[str, float] = super().run()
        return metrics


def _evaluator(built: MMEvaluator) -> MMEvaluator:
    """Our evaluator with the metrics of mmengine's; one of another class is kept."""
    if type(built) is not MMEvaluator:
        return built
    evaluator = Evaluator(built.metrics)
    evaluator.dataset_meta = built.dataset_meta
    return evaluator
