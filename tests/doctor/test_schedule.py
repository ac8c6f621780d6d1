"""The rule of learning rates, and the curve."""

import pytest

from mae.apis import load_config
from mae.doctor.schedule import (
    examine_schedule,
    judge_rate,
    judge_warmup,
    rate_of_rule,
    rates_of,
    run_steps,
)
from mae.utils.vit_sizes import ARCHS

# The lowest and the highest beside the rule, and some between, of pre-training and fine-tuning.
RATED = (
    'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k',
    'mae_vit-huge-p14_8xb512-amp-coslr-400e_in1k',
    'mae_vit-mini-p4_1xb64-coslr-170e_digits-16',
    'vit-base-p16_ft-8xb128-amp-coslr-100e_in1k',
    'vit-huge-p14_ft-8xb128-amp-coslr-50e_in1k',
    'vit-mini-p4_ft-1xb10-coslr-120e_digits-16-1pct',
)


@pytest.mark.parametrize('name', RATED)
def test_shipped_rates_pass_and_ten_times_as_much_does_not(name):
    config = load_config(name)
    arch = config.model.encoder.arch
    width = (ARCHS[arch] if isinstance(arch, str) else arch)['embed_dim']
    rule = rate_of_rule(config.model.type, config.global_batch_size, width)
    rate = config.base_lr * config.global_batch_size / 256
    assert judge_rate(rate, rule) == []
    assert [finding.name for finding in judge_rate(10 * rate, rule)] == ['rate_above_rule']
    part = examine_schedule(config, rate, width, 100)
    assert part.findings == []
    (series,) = part.curves.values()
    assert max(series.y) == pytest.approx(rate)
    assert series.y[0] == 0
    assert series.x[-1] == 100 * config.train_cfg.max_epochs - 1


@pytest.mark.parametrize('kind', ['MAE', 'Classifier'])
def test_the_rule_goes_with_the_root_of_the_batch(kind):
    one = rate_of_rule(kind, 1024, 768)
    assert rate_of_rule(kind, 4 * 1024, 768) == pytest.approx(2 * one)
    assert rate_of_rule(kind, 1024, 768 // 4) == pytest.approx(2 * one)
    assert judge_rate(3.1 * one, one) == []
    assert [finding.name for finding in judge_rate(3.3 * one, one)] == ['rate_above_rule']


def test_other_models_have_no_rule():
    assert rate_of_rule('Detector', 64, 768) is None


def test_schedules_in_steps_and_of_other_kinds():
    warmup, series = rates_of({'type': 'WarmupPolyLR', 'warmup': 10}, 1.0, 100, 7)
    assert (warmup, series.y[series.x.index(10)]) == (10, 1.0)
    assert rates_of({'type': 'CosineAnnealingLR', 'T_max': 10}, 1.0, 100, 7) is None
    assert rates_of(None, 1.0, 100, 7) is None
    assert run_steps({'max_steps': 70}, 7) == run_steps({'max_epochs': 10}, 7) == 70


@pytest.mark.parametrize(('warmup', 'found'), [(50, []), (51, ['warmup_too_long'])])
def test_a_warmup_that_is_most_of_the_run(warmup, found):
    assert [finding.name for finding in judge_warmup(warmup, 100)] == found
