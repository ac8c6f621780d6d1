import pytest
import torch

from mae.datasets.sources.imagenet_c import CORRUPTIONS, EXTRA_CORRUPTIONS
from mae.evaluation import CorruptionError
from mae.evaluation.corruption_error import ALEXNET
from mae.utils.errors import ConfigError, DataError, NonFiniteError

NUM_CLASSES = 7


def names_of(corruptions=CORRUPTIONS, severities=range(1, 6)):
    return tuple(f'{name}/{severity}' for name in corruptions for severity in severities)


def metric_of(groups, **options):
    metric = CorruptionError(**options)
    metric.dataset_meta = {'groups': groups, 'classes': tuple('abcdefg')}
    return metric


def samples(wrong, images=20):
    """Logits, labels and groups; of group g `wrong[g]` of the images are mistaken."""
    labels = torch.randint(0, NUM_CLASSES, (len(wrong), images))
    shift = (torch.arange(images) < torch.tensor(wrong)[:, None]).long()
    logits = torch.nn.functional.one_hot((labels + shift) % NUM_CLASSES, NUM_CLASSES).float()
    groups = torch.arange(len(wrong))[:, None].expand_as(labels)
    return logits.flatten(0, 1), labels.flatten(), groups.flatten()


def feed(metric, logits, labels, groups, order=None, batch_size=64):
    order = torch.randperm(len(labels)) if order is None else order
    for part in order.split(batch_size):
        sample = {'logits': logits[part], 'labels': labels[part]}
        metric.process({'groups': groups[part]}, [sample])
    return metric


def test_table_by_hand():
    """ResNet-like errors: each severity adds one mistake of 20, from a start of its own."""
    wrong = [start % 6 + severity for start in range(15) for severity in range(1, 6)]
    found = feed(metric_of(names_of()), *samples(wrong)).evaluate(0)
    assert found['error_gaussian_noise_1'] == pytest.approx(5)  # 1 of 20
    assert found['error_shot_noise_5'] == pytest.approx(30)  # 6 of 20
    assert found['error_shot_noise'] == pytest.approx((10 + 15 + 20 + 25 + 30) / 5)
    # CE: mean errors 15 and 20 over AlexNet's 88.6428 and 89.4468
    assert found['ce_gaussian_noise'] == pytest.approx(16.92185, abs=1e-5)
    assert found['ce_shot_noise'] == pytest.approx(22.35966, abs=1e-5)
    means = [15 + 5 * (start % 6) for start in range(15)]
    assert found['mean_error'] == pytest.approx(sum(means) / 15)
    assert found['top1'] == pytest.approx(100 - sum(means) / 15)
    by_hand = sum(100 * m / ALEXNET[c] for m, c in zip(means, CORRUPTIONS, strict=True)) / 15
    assert found['mce'] == pytest.approx(by_hand)
    assert found['num_samples'] == 75 * 20
    assert len(found) == 4 + 15 + 15 + 75


def test_alexnet_scores_100_and_its_mean_is_the_published_one():
    assert tuple(ALEXNET) == CORRUPTIONS
    assert sum(ALEXNET.values()) / 15 == pytest.approx(78.899, abs=1e-3)
    wrong = [round(100 * ALEXNET[c]) for c in CORRUPTIONS for _ in range(5)]
    found = feed(metric_of(names_of()), *samples(wrong, images=10_000), batch_size=50_000)
    assert found.evaluate(0)['mce'] == pytest.approx(100, abs=0.01)


def test_extra_corruptions_enter_no_mean():
    wrong = [1 + n % 9 for n in range(95)]
    logits, labels, groups = samples(wrong)
    found = feed(metric_of(names_of((*CORRUPTIONS, *EXTRA_CORRUPTIONS))), logits, labels, groups)
    found, few = found.evaluate(0), groups < 75
    part = feed(metric_of(names_of()), logits[few], labels[few], groups[few]).evaluate(0)
    assert {name: found[name] for name in part if name != 'num_samples'} == {
        name: part[name] for name in part if name != 'num_samples'
    }
    assert found['error_spatter_2'] == pytest.approx(5 * wrong[86])
    assert 'ce_spatter' not in found


def test_a_part_is_never_called_mce():
    groups = [g for g in names_of() if not g.startswith(('fog/', 'snow/')) and g != 'frost/4']
    found = feed(metric_of(groups), *samples([4] * len(groups))).evaluate(0)
    assert 'mce' not in found
    assert 'mean_error' not in found
    assert found['mean_error_of_12_corruptions'] == pytest.approx(20)
    ces = [20 / ALEXNET[c] * 100 for c in CORRUPTIONS if c not in ('fog', 'snow', 'frost')]
    assert found['mean_ce_of_12_corruptions'] == pytest.approx(sum(ces) / 12)
    assert 'ce_frost' not in found
    assert 'error_frost' not in found
    assert found['error_frost_5'] == pytest.approx(20)
    assert found['top1'] == pytest.approx(80)
    groups = names_of(severities=[5])
    found = feed(metric_of(groups), *samples([2] * 15)).evaluate(0)
    assert set(found) == {'top1', 'num_samples', *(f'error_{c}_5' for c in CORRUPTIONS)}


@pytest.mark.parametrize(
    ('corruptions', 'names'), [(CORRUPTIONS, ''), (CORRUPTIONS[1:], '_of_14_corruptions')]
)
def test_folders_that_lack_images_give_no_mce(corruptions, names):
    metric = metric_of(names_of(corruptions))
    metric.dataset_meta['incomplete'] = ('fog/1',)
    found = feed(metric, *samples([4] * 5 * len(corruptions))).evaluate(0)
    means = {name for name in found if name.startswith(('mce', 'mean_'))}
    assert means == {f'mean_ce{names}_of_some_images', f'mean_error{names}_of_some_images'}


def test_other_baselines():
    groups = names_of(['fog', 'snow'])
    data = samples([3] * 10)
    found = feed(metric_of(groups, baseline={'fog': 30, 'snow': 60.0}), *data).evaluate(0)
    assert found['ce_fog'] == pytest.approx(50)
    assert found['mce'] == pytest.approx((50 + 25) / 2)
    found = feed(metric_of(groups, baseline=None), *data).evaluate(0)
    assert found['mean_error_of_2_corruptions'] == pytest.approx(15)
    assert not [name for name in found if 'ce' in name]


def test_two_processes_count_as_one(on_two):
    logits, labels, groups = samples([n % 20 for n in range(75)])
    order = torch.randperm(1500)
    expected = feed(metric_of(names_of()), logits, labels, groups, order).evaluate(0)

    def evaluate(rank):
        part = order[:700] if rank else order[700:]
        return feed(metric_of(names_of()), logits, labels, groups, part, 33).evaluate(0)

    assert on_two(evaluate) == [expected, expected]


@pytest.mark.parametrize('groups', [(), ('train', 'val'), ('fog/1', 'fog/6'), ('/1',)])
def test_other_groups(groups):
    with pytest.raises(ConfigError, match=r'named <corruption>/<severity>, such as .*(none|named)'):
        feed(metric_of(groups), *samples([1]))


def test_another_classifier_is_refused_at_the_first_batch():
    sample = {'logits': torch.randn(2, 10), 'labels': torch.tensor([0, 1])}
    with pytest.raises(ConfigError, match=r'has 10 classes, but .* labelled with 7'):
        metric_of(names_of()).process({'groups': torch.tensor([0, 1])}, [sample])


def test_batches_without_groups():
    sample = {'logits': torch.randn(2, 7), 'labels': torch.tensor([0, 1])}
    with pytest.raises(ConfigError, match='the batch has no groups'):
        metric_of(names_of()).process({'ids': torch.tensor([0, 1])}, [sample])


def test_labels_and_logits_that_cannot_be_ranked():
    logits, labels, groups = samples([1] * 5)
    with pytest.raises(DataError, match='1 of 100 labels'):
        feed(
            metric_of(names_of(['fog'])),
            logits,
            labels.clone().index_fill_(0, groups[:1], 9),
            groups,
        ).evaluate(0)
    broken = logits.clone()
    broken[3, 2] = torch.nan
    with pytest.raises(NonFiniteError, match='the logits of 1 of 100 samples'):
        feed(metric_of(names_of(['fog'])), broken, labels, groups).evaluate(0)


@pytest.mark.parametrize(
    ('baseline', 'message'),
    [
        ('resnet', "must be 'alexnet', None, or corruption to mean error in percent"),
        ({}, 'must be'),
        ({'fog': 0}, 'above 0'),
        ({'fog': '30'}, 'must be'),
        ({'fog': 0.3, 'snow': 0.9}, 'give percent, not fractions'),
    ],
)
def test_no_baseline(baseline, message):
    with pytest.raises(ConfigError, match=message):
        CorruptionError(baseline)
