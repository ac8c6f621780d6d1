"""Testing a model by its features alone: k-NN and other probes of frozen weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mae.evaluation.loops import TestLoop
from mae.evaluation.voter import Loader, Pool, Voter
from mae.registry import LOOPS, METRICS
from mae.utils.errors import ConfigError


@LOOPS.register_module()
class KNNLoop(TestLoop):
    """Classifies the test images by their nearest training images.

    The model needs `extract_features(images, pool)`. Each image goes through it once, however
    many probes there are.

    Args:
        runner: the runner.
        dataloader: of the images to classify.
        evaluator: metrics of the votes, such as `Accuracy`.
        bank_dataloader: of the training images, each read once.
        k: neighbours that vote.
        temperature: of the votes; None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.
        probes: configs of more to ask of the same features, `KNNProbe` or `LinearProbe`; their
            metrics are named after them. A metric that writes a file, such as mmengine's
            `DumpResults`, writes it anew for each and leaves that of the last.

    Raises:
        ConfigError: k exceeds the number of training images, the temperature is not positive, or
            two probes are the same.
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
        probes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.voter = Voter(
            runner, bank_dataloader, 'test_cfg', k=k, temperature=temperature, pool=pool
        )
        self.probes = [METRICS.build(probe) for probe in probes]
        names = [probe.name for probe in self.probes]
        if len(set(names)) < len(names):
            raise ConfigError(f'test_cfg.probes: two are the same, of {", ".join(names)}')

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Fill the bank, let it vote on every test image, evaluate, and ask the other probes."""
        runner = self.runner
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.model.eval()
        bank, seen = self.voter.bank(), []
        for index, output in enumerate(self.voter.votes(bank, self.dataloader)):
            runner.call_hook('before_test_iter', batch_idx=index, data_batch=None)
            self.evaluator.process(data_samples=[output])
            if self.probes:
                seen.append((output['features'], output['labels']))
            runner.call_hook('after_test_iter', batch_idx=index, outputs=[output])
        metrics: dict[str, float] = self.evaluator.evaluate(len(self.dataloader.dataset))
        for probe in self.probes:
            scorer = probe.fit(*bank)
            for features, labels in seen:
                self.evaluator.process(
                    data_samples=[{'logits': scorer(features), 'labels': labels}]
                )
            found = self.evaluator.evaluate(len(self.dataloader.dataset))
            found.pop('num_samples', None)
            metrics |= {f'{probe.name}_{name}': value for name, value in found.items()}
        runner.call_hook('after_test_epoch', metrics=metrics)
        runner.call_hook('after_test')
        return metrics
