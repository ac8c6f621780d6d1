"""Watching the features while they are being learned."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook

from mae.evaluation.accuracy import Accuracy
from mae.evaluation.checks import is_count
from mae.evaluation.voter import Pool, Voter
from mae.registry import HOOKS
from mae.utils.errors import ConfigError


@HOOKS.register_module()
class KNNHook(Hook):
    """k-NN accuracy of the features while they are being learned.

    Costs an unmasked forward pass of the encoder over the bank and the images each time: for
    ViT-B/16 35 GFLOPs an image, 0.6 of what one image costs in training.

    Args:
        dataloader: config, of the images to classify.
        bank_dataloader: config, of the training images or a part of them.
        interval: epochs between two figures; the last epoch always gives one.
        k: neighbours that vote.
        temperature: of the votes; None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.

    Raises:
        ConfigError: `interval` is below 1, k exceeds the number of images in the bank, or the
            temperature is not positive.
    """

    priority = 'LOW'

    def __init__(
        self,
        dataloader: Mapping[str, Any],
        bank_dataloader: Mapping[str, Any],
        *,
        interval: int = 10,
        k: int = 20,
        temperature: float | None = 0.07,
        pool: Pool = 'avg',
    ) -> None:
        if not is_count(interval):
            raise ConfigError(f'KNNHook.interval must be at least 1, not {interval!r}')
        self._loader_cfg = dataloader
        self._bank_cfg = bank_dataloader
        self._options: dict[str, Any] = {'k': k, 'temperature': temperature, 'pool': pool}
        self.interval = interval

    def before_train(self, runner: Any) -> None:
        """Build the loaders once, so that a mistake in them shows at the start."""
        self._voter = Voter(runner, self._bank_cfg, 'KNNHook', **self._options)
        self._loader = runner.build_dataloader(self._loader_cfg, seed=runner.seed)
        self._accuracy = Accuracy((1,))

    @torch.inference_mode()
    def after_train_epoch(self, runner: Any) -> None:
        """Log `knn/top1`, in percent."""
        done = runner.epoch + 1
        if done % self.interval and done != runner.max_epochs:
            return
        runner.model.eval()
        for output in self._voter.votes(self._voter.bank(), self._loader):
            self._accuracy.process(None, [output])
        top1 = self._accuracy.evaluate(len(self._loader.dataset))['top1']
        runner.model.train()
        runner.logger.info(f'Epoch(knn) [{done}]  top1: {top1:.2f}')
        runner.visualizer.add_scalars({'knn/top1': top1}, step=runner.iter)
