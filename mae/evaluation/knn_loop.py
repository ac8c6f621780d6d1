"""Testing a model by its features alone: k-NN on frozen weights."""

from typing import Any

import torch
from mmengine.runner import TestLoop

from mae.evaluation.voter import Loader, Pool, Voter
from mae.registry import LOOPS


@LOOPS.register_module()
class KNNLoop(TestLoop):
    """Classifies the test images by their nearest training images.

    The model needs `extract_features(images, pool)`.

    Args:
        runner: the runner.
        dataloader: of the images to classify.
        evaluator: metrics of the votes, such as `Accuracy`.
        bank_dataloader: of the training images, each read once.
        k: neighbours that vote.
        temperature: of the votes; None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.

    Raises:
        ConfigError: k exceeds the number of training images.
    """

    features_only = True  # the runner loads weights that lack a decoder or head

    def __init__(
        self,
        runner: Any,
        dataloader: Loader,
        evaluator: Any,
        bank_dataloader: Loader,
        *,
        k: int = 20,
        temperature: float | None = 0.07,
        pool: Pool = 'avg',
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.voter = Voter(
            runner, bank_dataloader, 'test_cfg', k=k, temperature=temperature, pool=pool
        )

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Fill the bank, let it vote on every test image, and evaluate the votes."""
        runner = self.runner
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.model.eval()
        for index, output in enumerate(self.voter.votes(self.dataloader)):
            runner.call_hook('before_test_iter', batch_idx=index, data_batch=None)
            self.evaluator.process(data_samples=[output])
            runner.call_hook('after_test_iter', batch_idx=index, outputs=[output])
        metrics: dict[str, float] = self.evaluator.evaluate(len(self.dataloader.dataset))
        runner.call_hook('after_test_epoch', metrics=metrics)
        runner.call_hook('after_test')
        return metrics
