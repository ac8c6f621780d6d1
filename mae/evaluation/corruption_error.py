"""Errors under corruptions: ImageNet-C (Hendrycks & Dietterich, 1903.12261).

Shapes: B images, N classes, G groups.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from mae.evaluation.accuracy import Accuracy, hit_columns
from mae.evaluation.checks import is_number
from mae.registry import METRICS
from mae.utils.errors import ConfigError

# Errors of AlexNet, mean over the severities, in percent (the paper's table 1 has them rounded).
ALEXNET = {
    'gaussian_noise': 88.6428,
    'shot_noise': 89.4468,
    'impulse_noise': 92.2640,
    'defocus_blur': 81.9880,
    'glass_blur': 82.6268,
    'motion_blur': 78.5948,
    'zoom_blur': 79.8360,
    'snow': 86.6816,
    'frost': 82.6572,
    'fog': 81.9324,
    'brightness': 56.4592,
    'contrast': 85.3204,
    'elastic_transform': 64.6056,
    'pixelate': 71.7840,
    'jpeg_compression': 60.6500,
}
_SEVERITIES = frozenset('12345')

Errors = dict[str, dict[str, float]]


@METRICS.register_module()
class CorruptionError(Accuracy):
    """Top-1 errors in percent, by corruption and severity, and their means.

    The corruption error of c is CE_c = 100 x its mean error over severities 1 to 5, over that of
    the baseline; mCE is the mean of the CE_c over all corruptions of the baseline. Other
    corruptions, such as the four extra ones, are reported, but are part of no mean.

    If corruptions or severities are missing, the means have other names than the published one:
    `mean_ce_of_12_corruptions` and `mean_error_of_12_corruptions` are over the 12 corruptions
    that have all five severities. Those of a data set whose folders lack images end in
    `_of_some_images`.

    The data set's groups are named `<corruption>/<severity>`, see `ImageNetC`.

    Args:
        baseline: 'alexnet', or a dict of corruption to mean error in percent; None reports no CE.
        num_classes: number of classes N of the data set; None takes the length of its `classes`.

    Raises:
        ConfigError: the baseline is neither, or has an error of 0 or less.
    """

    def __init__(
        self,
        baseline: Mapping[str, float] | str | None = 'alexnet',
        *,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(1, num_classes=num_classes)
        self.baseline = None if baseline is None else _checked(baseline)
        self._groups: Sequence[str] = ()
        self._is_whole = True

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Count the hits of a batch: `logits` (B, N), `labels` (B,), and its `groups` (B,).

        Raises:
            ConfigError: the model is no classifier of these classes, or the data set has no such
                groups.
            ValueError: logits or labels have other shapes.
        """
        if not self._groups:
            meta = self.dataset_meta or {}
            self._groups = _require_groups(meta.get('groups') or ())
            self._is_whole = not meta.get('incomplete')
            self.num_classes = self.num_classes or len(meta.get('classes') or ()) or None
        for sample in data_samples:
            logits, labels = self.read(sample)
            groups = (data_batch or {}).get('groups')
            if groups is None:
                raise ConfigError(
                    'CorruptionError: the batch has no groups: the source must be an ImageNetC or '
                    'Groups, and the pipeline end with PackInputs'
                )
            columns = hit_columns(logits, labels, (1,)).double()  # 4,B
            if self._counts is None:
                self._counts = columns.new_zeros(len(columns), len(self._groups))
            groups = groups.to(logits.device, non_blocking=True)
            self._counts.index_add_(1, groups, columns)  # in place: a sum for each batch less
            self._num_classes = logits.shape[1]

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            All in percent: `mce`, `mean_error` and `top1`, each over the corruptions of the
            baseline; `ce_<corruption>`; `error_<corruption>`, the mean over its severities;
            `error_<corruption>_<severity>`; and `num_samples`.
        """
        counts = self.reduced().T  # G,4
        self.require_sound(counts[:, 1:].sum(0))
        hits, totals = counts[:, 0].tolist(), counts[:, -1].tolist()
        errors: Errors = {}
        for group, hit, total in zip(self._groups, hits, totals, strict=True):
            if total:
                corruption, _, severity = group.rpartition('/')
                errors.setdefault(corruption, {})[severity] = 100 * (1 - hit / total)
        counted = [
            n for n, group in enumerate(self._groups) if _corruption(group) in self._expected
        ]
        total = sum(totals[n] for n in counted)
        top1 = {'top1': 100 * sum(hits[n] for n in counted) / total} if total else {}
        return {
            **corruption_means(errors, self.baseline, self._expected, self._is_whole),
            **top1,
            **_by_severity(errors),
            'num_samples': sum(totals),
        }

    @property
    def _expected(self) -> Mapping[str, float]:
        return ALEXNET if self.baseline is None else self.baseline


def corruption_means(
    errors: Errors,
    baseline: Mapping[str, float] | None,
    expected: Mapping[str, float],
    is_whole: bool = True,
) -> dict[str, float]:
    """`mce`, `mean_error` and `ce_<corruption>`; of incomplete data under other names.

    Args:
        errors: in percent, by corruption and severity '1' to '5'.
        baseline: corruption to mean error in percent; None gives no CE.
        expected: its keys are the corruptions that a complete mean is over.
        is_whole: whether all images of the data set were evaluated.
    """
    complete = {name: errors[name] for name in expected if set(errors.get(name, ())) == _SEVERITIES}
    means = {name: fmean(found.values()) for name, found in complete.items()}
    if not means:
        return {}
    suffix = '' if len(means) == len(expected) else f'_of_{len(means)}_corruptions'
    suffix += '' if is_whole else '_of_some_images'
    mean_error = {f'mean_error{suffix}': fmean(means.values())}
    if baseline is None:
        return mean_error
    ces = {name: 100 * mean / baseline[name] for name, mean in means.items()}
    mce = f'mean_ce{suffix}' if suffix else 'mce'
    return {
        mce: fmean(ces.values()),
        **mean_error,
        **{f'ce_{name}': value for name, value in ces.items()},
    }


def _by_severity(errors: Errors) -> dict[str, float]:
    """The mean of each corruption that has all five severities, then every single error."""
    means = {
        f'error_{name}': fmean(found.values())
        for name, found in errors.items()
        if set(found) == _SEVERITIES
    }
    return means | {
        f'error_{name}_{severity}': value
        for name, found in errors.items()
        for severity, value in found.items()
    }


def _corruption(group: str) -> str:
    return group.rpartition('/')[0]


def _require_groups(groups: Sequence[str]) -> Sequence[str]:
    wrong = [g for g in groups if not _corruption(g) or g.rpartition('/')[2] not in _SEVERITIES]
    if not groups or wrong:
        found = f'one is named {wrong[0]!r}' if wrong else 'this one has none'
        raise ConfigError(
            'CorruptionError needs a data set whose groups are named <corruption>/<severity>, '
            f"such as 'fog/3' of ImageNetC; {found}"
        )
    return groups


def _checked(baseline: Mapping[str, float] | str) -> Mapping[str, float]:
    if baseline == 'alexnet':
        return ALEXNET
    errors = dict(baseline) if isinstance(baseline, Mapping) else {}
    if not errors or not all(is_number(error) and 0 < error <= 100 for error in errors.values()):
        raise ConfigError(
            "CorruptionError.baseline must be 'alexnet', None, or corruption to mean error in "
            f'percent, above 0; not {baseline!r}'
        )
    if max(errors.values()) <= 1:
        raise ConfigError(
            'CorruptionError.baseline: no error is above 1 %: give percent, not fractions'
        )
    return errors
