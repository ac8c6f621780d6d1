"""k-NN of a model's features: once as a test (`KNNLoop`), and during training (`KNNHook`).

Shapes: M images of the bank, B queries, D width, N classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch import Tensor
from torch.utils.data import DataLoader

from mae.evaluation.accuracy import Accuracy
from mae.evaluation.checks import check_temperature, is_count
from mae.evaluation.loops import TestLoop, eval_context
from mae.evaluation.probes import KNNProbe
from mae.registry import HOOKS, LOOPS, METRICS
from mae.utils.errors import ConfigError
from mae.utils.runner_protocol import RunnerProtocol

ImageBatch = dict[str, Tensor]
LoaderOrConfig = DataLoader[Any] | Mapping[str, Any]
GlobalPool = Literal['avg', 'cls']


@LOOPS.register_module()
class KNNLoop(TestLoop):
    """Classifies the test images by their nearest training images.

    The model needs `extract_features(images, pool)`. Each image goes through it once, however
    many probes there are.

    Args:
        dataloader: a loader of the images to classify, or its config.
        evaluator: metrics that read `logits` (B, N) and `labels` (B,), such as `Accuracy`.
        bank_dataloader: a loader of the training images, or its config; each is read once.
        k: number of neighbours, 1 to the number of images in the bank.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.
        probes: configs of further classifiers of the same features, `KNNProbe` or `LinearProbe`;
            their metrics are named after them. A metric that writes a file, such as mmengine's
            `DumpResults`, overwrites it for each, so the last probe's file remains.

    Raises:
        ConfigError: k exceeds the number of training images, the temperature is not positive, or
            two probes are the same.
    """

    features_only = True  # the runner loads weights that lack a decoder or head

    def __init__(
        self,
        runner: RunnerProtocol,
        dataloader: LoaderOrConfig,
        evaluator: Any,
        bank_dataloader: LoaderOrConfig,
        *,
        k: int = 20,
        temperature: float | None = 0.07,
        pool: GlobalPool = 'avg',
        probes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.bank = FeatureBank(
            runner, bank_dataloader, 'test_cfg', k=k, temperature=temperature, pool=pool
        )
        self.probes = [METRICS.build(probe) for probe in probes]
        names = [probe.name for probe in self.probes]
        if len(set(names)) < len(names):
            raise ConfigError(f'test_cfg.probes: two are the same, of {", ".join(names)}')

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """Compute the bank, classify every test image by k-NN, evaluate; then each other probe."""
        runner = self.runner
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.model.eval()
        bank, seen = self.bank.compute(), []
        for index, output in enumerate(self.bank.classify(bank, self.dataloader)):
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


@HOOKS.register_module()
class KNNHook(Hook):
    """k-NN accuracy of the features while they are being learned.

    Costs an unmasked forward pass of the encoder over the bank and the images each time: for
    ViT-B/16 35 GFLOPs an image, 0.6 of what one image costs in training, in the same precision
    (`eval_amp`).

    Args:
        dataloader: config of a loader of the images to classify.
        bank_dataloader: config of a loader of the training images or a part of them.
        interval: epochs between two evaluations, at least 1; the last epoch always has one.
        k: number of neighbours, 1 to the number of images in the bank.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1.
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
        pool: GlobalPool = 'avg',
    ) -> None:
        if not is_count(interval):
            raise ConfigError(f'KNNHook.interval must be at least 1, not {interval!r}')
        self._loader_cfg = dataloader
        self._bank_cfg = bank_dataloader
        self._options: dict[str, Any] = {'k': k, 'temperature': temperature, 'pool': pool}
        self.interval = interval

    def before_train(self, runner: RunnerProtocol) -> None:
        """Build the loaders once, so that a mistake in them shows at the start."""
        self._bank = FeatureBank(runner, self._bank_cfg, 'KNNHook', **self._options)
        self._loader = runner.build_dataloader(self._loader_cfg, seed=runner.seed)
        self._accuracy = Accuracy((1,))

    @torch.inference_mode()
    def after_train_epoch(self, runner: RunnerProtocol) -> None:
        """Log `knn/top1`, in percent."""
        done = runner.epoch + 1
        if done % self.interval and done != runner.max_epochs:
            return
        runner.model.eval()
        for output in self._bank.classify(self._bank.compute(), self._loader):
            self._accuracy.process(None, [output])
        dataset: Any = self._loader.dataset  # torch's type has no length
        top1 = self._accuracy.evaluate(len(dataset))['top1']
        runner.model.train()
        runner.logger.info(f'Epoch(knn) [{done}]  top1: {top1:.2f}')
        runner.visualizer.add_scalars({'knn/top1': top1}, step=runner.iter)


class FeatureBank:
    """Features of labelled images, which classify other images by k-NN.

    Args:
        runner: its `model` has `extract_features(images, pool)`.
        bank_dataloader: a loader or its config; each of its images is read once.
        where: the config key of these arguments, for messages.
        k: number of neighbours, 1 to the number of images in the bank.
        temperature: a neighbour's vote is exp(similarity / temperature); None counts each as 1.
        pool: 'avg' of the patch tokens, or 'cls'.

    Raises:
        ConfigError: k exceeds the number of images in the bank, or the temperature is not positive.
    """

    def __init__(
        self,
        runner: RunnerProtocol,
        bank_dataloader: LoaderOrConfig,
        where: str,
        *,
        k: int,
        temperature: float | None,
        pool: GlobalPool,
    ) -> None:
        self.runner = runner
        self.loader = runner.build_dataloader(bank_dataloader, seed=runner.seed)
        dataset: Any = self.loader.dataset  # torch's type has no length
        size = len(dataset)
        if not is_count(k) or k > size:
            raise ConfigError(
                f'{where}.k={k} must lie between 1 and the {size} images of {where}.bank_dataloader'
            )
        check_temperature(temperature, f'{where}.temperature')
        self.k = k
        self.temperature = temperature
        self.pool = pool

    def compute(self) -> tuple[Tensor, Tensor]:
        """Features (M, D) and labels (M,): one pass over the images of the bank.

        Raises:
            ConfigError: an image has no label.
        """
        bank, labels = feature_bank(self.runner, self.loader, self.pool)
        if labels.min() < 0:
            raise ConfigError('k-NN needs labels: an image of the bank_dataloader has none')
        return bank, labels

    def classify(
        self, bank: tuple[Tensor, Tensor], batches: Iterable[ImageBatch]
    ) -> Iterable[ImageBatch]:
        """`logits` (B, N), `pred_score` (B, N), `labels` (B,), `features` (B, D) of each batch.

        The logits are votes, the scores their shares: a softmax of votes would mean nothing.

        Args:
            bank: what `compute` returned.
            batches: `inputs` and `labels`, perhaps `ids`, as collated.
        """
        features, labels = bank
        scorer = KNNProbe(self.k, self.temperature).fit(features, labels)
        for batch in batches:
            with eval_context(self.runner, batch):
                queries, truth = features_of(self.runner.model, batch, self.pool)
            votes = scorer(queries)
            shares = votes / votes.sum(dim=1, keepdim=True)
            output = {'logits': votes, 'pred_score': shares, 'labels': truth, 'features': queries}
            yield {**output, 'ids': batch['ids']} if 'ids' in batch else output


def features_of(model: Any, batch: ImageBatch, pool: str) -> tuple[Tensor, Tensor]:
    """Features (B, D) and labels (B,) of a collated batch.

    Args:
        model: has `data_preprocessor` and `extract_features(images, pool)`; may be wrapped in DDP.
        batch: `inputs` and `labels` (B,), as collated.
        pool: 'avg' of the patch tokens, or 'cls'.
    """
    model = getattr(model, 'module', model)
    batch = model.data_preprocessor(batch, False)
    return model.extract_features(batch['inputs'], pool=pool), batch['labels']


def feature_bank(
    runner: RunnerProtocol, loader: Iterable[ImageBatch], pool: str
) -> tuple[Tensor, Tensor]:
    """Features (M, D) and labels (M,) of all batches, gathered from all processes to each."""
    parts = []
    for batch in loader:
        with eval_context(runner, batch):
            parts.append(features_of(runner.model, batch, pool))
    features, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return gathered(features), gathered(labels)


def gathered(part: Tensor) -> Tensor:
    """All-gather of rows (M_rank, ...), in the order of ranks; their number may differ by rank."""
    if not dist.is_initialized():
        return part
    parts: list[Tensor] = [part] * dist.get_world_size()
    dist.all_gather_object(parts, part.cpu())
    return torch.cat(parts).to(part.device)
