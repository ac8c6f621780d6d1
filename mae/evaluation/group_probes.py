"""A linear probe for each group of a benchmark, its penalty chosen on validation images.

OmniBenchmark (Zhang et al., 2207.07106) has 21 groups, its realms.

Shapes: M images of the bank, D width, N classes of a group, G groups.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.utils.data import DataLoader

from mae.evaluation.checks import is_count
from mae.evaluation.knn_evaluation import GlobalPool, LoaderOrConfig, features_of, gathered
from mae.evaluation.loops import TestLoop, eval_context
from mae.evaluation.per_class import PerClass
from mae.evaluation.probes import LinearProbe
from mae.registry import LOOPS
from mae.utils.errors import ConfigError, DataError
from mae.utils.runner_protocol import RunnerProtocol

_Features = tuple[Tensor, Tensor, Tensor]  # features (M, D), labels (M,), groups (M,)
_Metrics = dict[str, float]

# The penalties of OmniBenchmark's code.
PENALTIES = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1, 1.0)


@LOOPS.register_module()
class GroupProbeLoop(TestLoop):
    """Fits a `LinearProbe` of each penalty to each group, and reports the best one on val.

    The model needs `extract_features(images, pool)`; each image goes through it once. The data
    sets have the same groups, see `Groups`; labels count from 0 in each group.

    As in OmniBenchmark's code, the norm of the weights is penalised, not its square, and features
    are not standardised. That code reports the penalty that is best on the test images; those
    results are reported too, as `best_on_test_*`.

    Every process fits all probes to the features of all processes, and classifies its share of the
    images.

    Args:
        dataloader: a loader of the test images, or its config.
        evaluator: metrics that read `logits` (B, N) and `labels` (B,), such as `Accuracy` and
            `PerClass`.
        bank_dataloader: a loader of the training images, or its config.
        val_bank_dataloader: a loader of the validation images, or its config.
        penalties: values of `l2` of `LinearProbe`; of equally good ones the first is chosen.
        choose_by: name of the metric whose highest value on val decides.
        max_iter: upper limit of L-BFGS iterations.
        pool: 'avg' of the patch tokens, or 'cls'.

    Raises:
        ConfigError: the data sets have no groups or different ones, there is no penalty, or
            `max_iter` is below 1.
    """

    features_only = True  # the runner loads weights that lack a decoder or head

    def __init__(
        self,
        runner: RunnerProtocol,
        dataloader: LoaderOrConfig,
        evaluator: Any,
        bank_dataloader: LoaderOrConfig,
        val_bank_dataloader: LoaderOrConfig,
        *,
        penalties: Sequence[float] = PENALTIES,
        choose_by: str = 'top1',
        max_iter: int = 1000,
        pool: GlobalPool = 'cls',
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        build = runner.build_dataloader
        self.bank: DataLoader[Any] = build(bank_dataloader, seed=runner.seed)
        self.val: DataLoader[Any] = build(val_bank_dataloader, seed=runner.seed)
        if not penalties or not is_count(max_iter):
            raise ConfigError('test_cfg: penalties must not be empty, and max_iter at least 1')
        self.probes = [
            LinearProbe(penalty, squared=False, standardize=False, max_iter=max_iter)
            for penalty in penalties
        ]
        self.choose_by = choose_by
        self.pool = pool
        self.groups = _groups_of(self.dataloader)
        for key, loader in (('bank_dataloader', self.bank), ('val_bank_dataloader', self.val)):
            if (found := _groups_of(loader)) != self.groups:
                wrong = sorted(set(found) ^ set(self.groups)) or found
                raise ConfigError(
                    f'test_cfg.{key} and test_dataloader have other groups: {wrong[0]} is not in '
                    'both, or they are in another order'
                )

    @torch.inference_mode()
    def run(self) -> _Metrics:
        """Extract all features, fit, choose and evaluate group by group.

        Returns:
            The mean over the groups of each metric (`top1`), its mean where each is the best on
            the test images (`best_on_test_top1`), and of each group the metrics (`bird_top1`) and
            the penalty (`bird_penalty`). Where the source says that groups are missing, the means
            are called `top1_of_20_groups`.
        """
        runner = self.runner
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.model.eval()
        features, labels, groups = map(gathered, self._extract(self.bank))
        bank = features, labels, groups
        val, test = self._extract(self.val), self._extract(self.dataloader)
        num_classes = _num_classes((bank, val, test), len(self.groups))
        chosen: dict[str, _Metrics] = {}
        best: dict[str, _Metrics] = {}
        for group, name in enumerate(self.groups):
            splits = [_of_group(split, group) for split in (bank, val, test)]
            chosen[name], best[name] = self._probe(splits, num_classes[group], name)
        for metric in self.evaluator.metrics:
            if isinstance(metric, PerClass):
                metric.table = None  # of the last probe of the last group: no result of this loop
        metrics = self._averages(chosen, best)
        runner.call_hook('after_test_epoch', metrics=metrics)
        runner.call_hook('after_test')
        return metrics

    def _extract(self, loader: DataLoader[Any]) -> _Features:
        """Features, labels and groups of this process's images."""
        parts = []
        for index, batch in enumerate(loader):
            self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=None)
            with eval_context(self.runner, batch):
                features, labels = features_of(self.runner.model, batch, self.pool)
            parts.append((features, labels, batch['groups'].to(labels.device)))
            self.runner.call_hook('after_test_iter', batch_idx=index, outputs=[])
        features, labels, groups = (torch.cat(column) for column in zip(*parts, strict=True))
        return features, labels, groups

    def _probe(
        self, splits: Sequence[tuple[Tensor, Tensor]], num_classes: int, name: str
    ) -> tuple[_Metrics, _Metrics]:
        """Test metrics of the penalty that is best on val; the best ones of any penalty."""
        (bank, labels), val, test = splits
        if not len(bank):
            raise DataError(f'test_cfg.bank_dataloader: {name} has no images')
        on_val: list[_Metrics] = []
        on_test: list[_Metrics] = []
        for probe in self.probes:
            scorer = probe.fit(bank, labels, num_classes)
            for (images, truth), found in ((val, on_val), (test, on_test)):
                self.evaluator.process(data_samples=[{'logits': scorer(images), 'labels': truth}])
                found.append(self.evaluator.evaluate(len(images)))
        if self.choose_by not in on_val[0]:
            known = ', '.join(on_val[0])
            raise ConfigError(f'test_cfg.choose_by={self.choose_by!r} is none of {known}')
        winner = max(range(len(on_val)), key=lambda n: on_val[n][self.choose_by])
        best = {key: max(found[key] for found in on_test) for key in on_test[0]}
        penalty = self.probes[winner].l2
        score = f'{self.choose_by} {on_test[winner][self.choose_by]:.2f}'
        self.runner.logger.info(f'{name}: {score}, penalty {penalty:g}')
        return {**on_test[winner], 'penalty': penalty}, best

    def _averages(self, chosen: Mapping[str, _Metrics], best: Mapping[str, _Metrics]) -> _Metrics:
        suffix = f'_of_{len(chosen)}_groups' if _missing_of(self.dataloader) else ''
        first = next(iter(best.values()))
        names = [name for name in first if name != 'num_samples']
        metrics = {f'{name}{suffix}': fmean(c[name] for c in chosen.values()) for name in names}
        for name in names:
            metrics[f'best_on_test_{name}{suffix}'] = fmean(b[name] for b in best.values())
        if 'num_samples' in first:
            metrics['num_samples'] = sum(found['num_samples'] for found in chosen.values())
        for group, found in chosen.items():
            metrics |= {f'{group}_{n}': found[n] for n in (*names, 'penalty')}
        return metrics


def _groups_of(loader: DataLoader[Any]) -> tuple[str, ...]:
    groups = getattr(loader.dataset, 'metainfo', {}).get('groups')
    if not groups:
        raise ConfigError(
            'GroupProbeLoop needs data sets with groups: their source must be Groups, '
            'OmniBenchmark or such'
        )
    return tuple(groups)


def _missing_of(loader: DataLoader[Any]) -> tuple[str, ...]:
    return tuple(getattr(loader.dataset, 'metainfo', {}).get('missing') or ())


def _of_group(split: _Features, group: int) -> tuple[Tensor, Tensor]:
    features, labels, groups = split
    own = groups == group
    return features[own], labels[own]


def _num_classes(splits: Sequence[_Features], num_groups: int) -> list[int]:
    """Number of classes of each group: one more than the highest label on any process.

    Raises:
        DataError: an image has no label.
    """
    highest = splits[0][1].new_full((num_groups + 1,), -1)
    for _, labels, groups in splits:
        highest.scatter_reduce_(0, groups, labels, 'amax')
        highest[-1] = torch.maximum(highest[-1], (labels < 0).sum())
    all_reduce(highest, 'max')
    *found, unlabelled = highest.tolist()
    if unlabelled > 0:
        raise DataError('GroupProbeLoop needs labels: an image has none')
    return [number + 1 for number in found]
