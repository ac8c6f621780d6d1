"""The rule of learning rates, and the curve."""

import pytest

from mae.apis import load_config
from mae.apis.schedule_picture import learning_rates
from mae.doctor.schedule import examine_schedule, judge_rate, judge_warmup, rate_of_rule
from mae.utils.vit_sizes import ARCHS

SMALL = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}  # in place of a large one, to build
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
    config.model.encoder.arch = SMALL
    rates = learning_rates(config, num_images=10 * config.global_batch_size)
    part = examine_schedule(config, rates, width)
    assert part.findings == []
    (series,) = part.curves.values()
    assert max(series.y) == pytest.approx(rate)
    assert series.y[0] == 0
    assert series.x[-1] == 10 * config.train_cfg.max_epochs - 1


@pytest.mark.parametrize('kind', ['MAE', 'Classifier'])
def test_the_rule_goes_with_the_root_of_the_batch(kind):
    one = rate_of_rule(kind, 1024, 768)
    assert rate_of_rule(kind, 4 * 1024, 768) == pytest.approx(2 * one)
    assert rate_of_rule(kind, 1024, 768 // 4) == pytest.approx(2 * one)
    assert judge_rate(3.1 * one, one) == []
    assert [finding.name for finding in judge_rate(3.3 * one, one)] == ['rate_above_rule']


def test_other_models_have_no_rule():
    assert rate_of_rule('Detector', 64, 768) is None


@pytest.mark.parametrize(
    ('scheduler', 'peak', 'last'),
    [
        (dict(type='WarmupPolyLR', warmup=10), 10, 0.002 / 90),
        (dict(type='StepLR', step_size=50, gamma=0.5), 0, 0.001),
        (None, 0, 0.002),
    ],
)
def test_schedules_in_steps_and_of_other_kinds(scheduler, peak, last):
    config = load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16')
    config.train_cfg = dict(type='TrainLoop', max_steps=100)
    config.param_scheduler = scheduler
    rates = learning_rates(config, num_images=640)
    (series,) = examine_schedule(config, rates, 96).curves.values()
    assert series.y[series.x.index(peak)] == max(series.y) == 0.002
    assert (series.x[-1], series.y[-1]) == (99, pytest.approx(last))


@pytest.mark.parametrize(('warmup', 'found'), [(50, []), (51, ['warmup_too_long'])])
def test_a_warmup_that_is_most_of_the_run(warmup, found):
    assert [finding.name for finding in judge_warmup(warmup, 100)] == found
