"""mmengine's validation and test loops, in inference mode.

mmengine runs them under `no_grad`, which still counts versions and views of every tensor. The
precision of the forward pass is the runner's to say (`eval_amp`); metrics compute without autocast.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from mmengine.evaluator import Evaluator as MMEvaluator
from mmengine.runner import TestLoop as MMTestLoop
from mmengine.runner import ValLoop as MMValLoop
from mmengine.runner.loops import _update_losses

from mae.evaluation.evaluator import Evaluator
from mae.registry import LOOPS
from mae.utils.runner_protocol import RunnerProtocol


class _InferenceLoop:
    """One evaluation, as validation and testing both do it, in place of mmengine's."""

    _stage: ClassVar[str]  # in the names of hooks, of the model's method and of the losses
    runner: RunnerProtocol
    evaluator: MMEvaluator
    fp16: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.evaluator = _evaluator(self.evaluator)

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Evaluate once, all in inference mode, as the metrics' counts are inference tensors."""
        metrics: dict[str, float] = super().run()  # type: ignore[misc]  # of the loop beside it
        return metrics

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Evaluate a batch."""
        hook, stage = self.runner.call_hook, self._stage
        hook(f'before_{stage}_iter', batch_idx=idx, data_batch=data_batch)
        with eval_context(self.runner, data_batch, self.fp16):
            outputs = getattr(self.runner.model, f'{stage}_step')(data_batch)
        outputs, losses = _update_losses(outputs, getattr(self, f'{stage}_loss'))
        setattr(self, f'{stage}_loss', losses)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        hook(f'after_{stage}_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)


@LOOPS.register_module()
class ValLoop(_InferenceLoop, MMValLoop):
    """Validation during training, at the batch size of `val_dataloader`."""

    _stage = 'val'


@LOOPS.register_module()
class TestLoop(_InferenceLoop, MMTestLoop):
    """Testing, at the batch size of `test_dataloader`."""

    __test__ = False  # not a test of pytest's

    _stage = 'test'


def eval_context(runner: object, batch: object, fp16: bool = False) -> AbstractContextManager[Any]:
    """The context of a forward pass: our runner's; with mmengine's the type of the weights.

    Args:
        batch: as collated; its size is that of `inputs`.
        fp16: mmengine's switch of a loop, in place of `eval_amp`.
    """
    if fp16:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        return torch.autocast(device, torch.float16)
    if not hasattr(runner, 'eval_context'):
        return nullcontext()
    images = batch.get('inputs', ()) if isinstance(batch, Mapping) else ()
    context: AbstractContextManager[Any] = runner.eval_context(len(images))
    return context


def _evaluator(built: MMEvaluator) -> MMEvaluator:
    """Our evaluator with the metrics of mmengine's; one of another class is kept."""
    if type(built) is not MMEvaluator:
        return built
    evaluator = Evaluator(built.metrics)
    evaluator.dataset_meta = built.dataset_meta
    return evaluator
