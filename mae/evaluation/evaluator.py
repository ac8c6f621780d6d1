"""Passes each metric what it reads: whole batches, or a dictionary for each sample.

A model gives a batch as one dictionary, so that `Accuracy` counts on the device and nothing has to
be gathered. The metrics of mmengine and mmpretrain read a dictionary for each sample, keep what
they need and gather it from all processes: such dictionaries are made only if such a metric is
configured.

Shapes: B images, N classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator as MMEvaluator
from torch import Tensor

from mae.evaluation.accuracy import Accuracy, check_logits, known_and_finite
from mae.utils.errors import ConfigError

DataSample = dict[str, Any]


class Evaluator(MMEvaluator):
    """mmengine's evaluator, for models whose output is a batch.

    A metric with `reads_batches = True` gets the output as it is, every other one what mmpretrain's
    models give of each sample: `pred_score` (N,), `pred_label` (1,), `gt_label` (1,), `num_classes`
    and `sample_idx`, its number in the dataset; in pre-training `reconstruction_loss` and
    `sample_idx`. Output of another form passes through unchanged.

    Args:
        metrics: one metric or a list, built or as configs.
    """

    def __init__(self, metrics: Any) -> None:
        super().__init__(metrics)
        # Counts labels and logits that cannot be ranked, and raises for them at the end: metrics
        # of other libraries rank NaN in silence.
        self._sound: Accuracy | None = None

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        """Pass a batch to each metric, in the form that it reads.

        Raises:
            ConfigError: a metric needs what the model does not give.
        """
        if not all(map(_is_batch, data_samples)):
            super().process(data_samples, data_batch)
            return
        rest = []
        for metric in self.metrics:
            if getattr(metric, 'reads_batches', False):
                metric.process(data_batch, data_samples)
            else:
                rest.append(metric)
        for output in data_samples if rest else ():
            if 'logits' in output:
                check_logits(output['logits'], output['labels'], _name(rest[0]))
                self._sound = self._sound or Accuracy(1)
                self._sound.process(data_batch, [output])
            samples = split_batch(output, data_batch)
            for metric in rest:
                _process(metric, data_batch, samples)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Metrics of all samples of all processes.

        Raises:
            NonFiniteError: a logit is NaN or infinite.
            DataError: a label has no logit.
            ConfigError: a metric gives no dictionary, or a name that another one gives.
        """
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.totals()
        metrics: dict[str, Any] = {}
        for metric in self.metrics:
            found = metric.evaluate(size)
            if not isinstance(found, Mapping):
                raise ConfigError(
                    f'{_name(metric)}: compute_metrics must return a dictionary of values by '
                    f'name, not {found!r}'
                )
            if twice := sorted(metrics.keys() & found.keys()):
                raise ConfigError(
                    f'{_name(metric)} gives {twice[0]}, which another metric gives too: set its '
                    'prefix'
                )
            metrics |= found
        return metrics


def split_batch(output: Mapping[str, Any], data_batch: Any = None) -> list[DataSample]:
    """A dictionary for each sample of a batch, its tensors on the CPU.

    Samples with a label outside of the classes, or a logit that is NaN or infinite, are dropped.

    Args:
        output: `logits` (B, N), `labels` (B,) and perhaps `pred_score` (B, N), by default the
            softmax; or `reconstruction_loss` (B,).
        data_batch: the collated batch, for `ids` (B,) where the output has none.
    """
    columns: dict[str, Tensor] = {}
    if 'logits' in output:
        logits, labels = output['logits'], output['labels']
        scores = output.get('pred_score')
        columns['pred_score'] = logits.float().softmax(dim=1) if scores is None else scores
        columns['pred_label'] = logits.argmax(dim=1, keepdim=True)
        columns['gt_label'] = labels[:, None]
        keep = torch.stack(known_and_finite(logits, labels)).all(dim=0).tolist()
        rest = {'num_classes': logits.shape[1]}
    else:
        columns['reconstruction_loss'] = output['reconstruction_loss']
        keep, rest = [True] * len(output['reconstruction_loss']), {}
    ids = output.get('ids', (data_batch or {}).get('ids'))
    # Copies: a pickled view would contain the whole batch.
    rows = [[row.clone() for row in column.cpu()] for column in columns.values()]
    samples = [{**dict(zip(columns, row, strict=True)), **rest} for row in zip(*rows, strict=True)]
    if ids is not None:
        for sample, sample_id in zip(samples, ids.tolist(), strict=True):
            sample['sample_idx'] = sample_id
    return [sample for sample, sound in zip(samples, keep, strict=True) if sound]


def _is_batch(output: Any) -> bool:
    keys = output.keys() if isinstance(output, Mapping) else ()
    return {'logits', 'labels'} <= set(keys) or 'reconstruction_loss' in keys


def _process(metric: Any, data_batch: Any, samples: list[DataSample]) -> None:
    if not samples:
        return
    try:
        metric.process(data_batch, samples)
    except Exception as error:
        keys = ', '.join(samples[0])
        if isinstance(error, KeyError) and error.args and error.args[0] not in samples[0]:
            needs = f'needs {error.args[0]!r} of each sample'
        elif type(metric).__module__.partition('.')[0] in ('mmpretrain', 'mmengine'):
            needs = f'fails with "{type(error).__name__}: {error}"'
        else:
            raise  # a user's own metric: they need its traceback
        raise ConfigError(f'{_name(metric)} {needs}; this model gives {keys}') from error


def _name(metric: Any) -> str:
    return f'{type(metric).__module__.partition(".")[0]}.{type(metric).__name__}'
