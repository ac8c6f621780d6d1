"""What is counted of a step without values, and the attention of a model at its shapes."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from mae.benchmark import PEERS, attention, count
from mae.benchmark.count import Tally
from tests.benchmark.conftest import FINETUNE
from tests.forked import forked

B = 4

# A backward pass without values starts threads of autograd, as on a GPU, which other forks refuse.


def test_bytes_are_those_read_and_written():
    x, bias = torch.zeros(6, 5), torch.zeros(5)
    with Tally() as tally:
        out = x.view(5, 6).t()  # views
        out.add_(1)
        (x + bias.expand(6, 5)).bfloat16()
        torch.add(x, x, out=torch.empty(6, 5))
    assert dict(tally.operators) == {'add_': 1, 'add': 2, '_to_copy': 1}
    assert tally.traffic['add_'] == 2 * 120
    assert tally.traffic['add'] == 2 * 120 + 20 + 3 * 120
    assert tally.traffic['_to_copy'] == 120 + 60


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@forked
def test_a_step_is_counted_without_values(make_settings, dtype):
    report = count.run(make_settings(batch_size=B, dtype=dtype))
    kinds = report['kinds']
    assert sum(kind['operators'] for kind in kinds.values()) == report['operators']
    assert sum(kind['gigabytes'] for kind in kinds.values()) == pytest.approx(report['gigabytes'])
    assert kinds['AdamW']['operators'] > 0
    # Two blocks of the encoder, and those of the decoder: forward and backward.
    model = make_settings().config.model
    assert kinds['attention']['operators'] == 2 * (2 + model.decoder.depth)
    assert (kinds['casts']['operators'] > 20) == (dtype == torch.bfloat16)  # one is of the pixels
    assert kinds['layer norm']['operators'] == 2 * (2 * (2 + model.decoder.depth) + 2)


@forked
def test_bytes_grow_with_the_batch_and_operators_do_not(make_settings):
    """Also with drop path, whose draws leave no image out without values."""
    tallies = [count.count(make_settings(FINETUNE, batch_size=size)) for size in (2, 4, 6)]
    assert tallies[0].operators == tallies[1].operators == tallies[2].operators
    assert tallies[0].operators['addcmul'] == 2 * 2
    first, second, third = (tally.traffic.total() for tally in tallies)
    assert third - second == second - first > 0


@forked
def test_compiled_blocks_read_and_write_less(make_settings):
    settings = make_settings(FINETUNE, batch_size=B, dtype=torch.bfloat16)
    plain, fused = count.run(settings), count.run(replace(settings, compile=True))
    for kind in ('products', 'attention', 'AdamW'):
        assert fused['kinds'][kind] == pytest.approx(plain['kinds'][kind])
    assert fused['gigabytes'] < plain['gigabytes']
    assert fused['kinds']['fused kernels']['operators'] > 0
    assert all(kind['gigabytes'] >= 0 for kind in fused['kinds'].values())
    out = io.StringIO()
    count.show_counts(fused, Console(file=out, width=100))
    assert 'compiled' in out.getvalue()


@pytest.mark.parametrize('name', ['target', 'loss'])
@forked
def test_target_and_loss_are_counted_compiled(make_settings, name):
    settings = make_settings(batch_size=B, dtype=torch.bfloat16)
    assert count._kinds_of_parts(count.meta_model(settings))[name] == 1
    (plain, before), (fused, after) = (
        counts(settings, name, B) for counts in (count._count_alone, count._count_fused)
    )
    assert 0 < after.total() < before.total()
    assert set(fused) == {'fused'}
    assert 0 < fused.total() <= plain.total()


def test_other_trainings_are_refused(make_settings):
    settings = make_settings()
    settings.config.model['type'] = 'Segmenter'
    with pytest.raises(ValueError, match=r'its model is a Segmenter, not a MAE$'):
        count.run(settings)


def test_every_backend_is_measured_where_it_is_there(make_settings, capsys):
    settings = make_settings(batch_size=B)
    report = attention.run(settings, PEERS['attention'], rounds=1, steps=1)
    here = {name.partition(' at ')[0] for name in report['systems']}
    assert here == {'mae', 'products', 'flash', 'math'}
    missing = {name.partition(' at ')[0] for name in report['skipped']}
    assert missing == {'cudnn', 'efficient'}
    assert all('needs a GPU' in reason for reason in report['skipped'].values())
    places = {name.partition(' at ')[2].partition(',')[0] for name in report['systems']}
    assert places == {'encoder', 'decoder', 'its last block'}
    assert len(report['ratio']) == 3 * 3
    assert 'skipped cudnn at encoder' in capsys.readouterr().out


def test_attention_of_a_batch_that_does_not_fit(make_settings):
    with pytest.raises(ValueError, match=r'^--batch 9,999,999,999: encoder, .* lower --batch$'):
        attention.run(make_settings(batch_size=9_999_999_999), [])
