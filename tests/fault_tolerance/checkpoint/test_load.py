from pathlib import Path

import pytest
import torch
from torch import nn

from mae.fault_tolerance.checkpoint import fit_weights
from mae.utils.errors import CheckpointError

PATH = Path('some/epoch_1.pth')


class Encoder(nn.Module):
    def __init__(self, width, with_norm):
        super().__init__()
        self.proj = nn.Linear(2, width)
        if with_norm:
            self.norm = nn.LayerNorm(width)


def pretrained(width=3):
    return nn.ModuleDict({'encoder': Encoder(width, True), 'decoder': nn.Linear(width, 2)})


def classifier(width=3, classes=5, with_norm=False):
    return nn.ModuleDict({'encoder': Encoder(width, with_norm), 'head': nn.Linear(width, classes)})


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def refused(model, weights, **options):
    before = copied(model)
    with pytest.raises(CheckpointError) as caught:
        fit_weights(model, weights, PATH, **options)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])  # whole or not at all
    message = str(caught.value)
    assert message.startswith('some/epoch_1.pth ')
    assert '\n' not in message
    return message


def test_fine_tuning_takes_the_encoder():
    source, model = pretrained(), classifier()
    head = model['head'].weight.clone()
    report = fit_weights(model, source.state_dict(), PATH)
    assert torch.equal(model['encoder'].proj.weight, source['encoder'].proj.weight)
    assert torch.equal(model['head'].weight, head)
    assert (
        str(report) == '2 weights loaded, 2 start fresh (head), 4 left out (decoder, encoder.norm)'
    )
    assert report.missing == ['head.weight', 'head.bias']


def test_a_head_of_other_classes_starts_fresh():
    source, model = classifier(classes=7), classifier(classes=5)
    report = fit_weights(model, source.state_dict(), PATH)
    assert set(report.missing) == {'head.weight', 'head.bias'}
    assert torch.equal(model['encoder'].proj.weight, source['encoder'].proj.weight)
    assert 'head.weight is (7, 3) there and (5, 3) here' in refused(
        model, source.state_dict(), exact=True
    )


def test_another_shape():
    message = refused(classifier(3), pretrained(4).state_dict())
    assert message.startswith('some/epoch_1.pth is of another shape: ')
    assert 'encoder.proj.weight is (4, 2) there and (3, 2) here' in message


def test_the_encoder_of_another_detector():
    old, new = (classifier() for _ in range(2))
    old['rpn'], new['rpn'] = nn.Linear(2, 2), nn.Linear(2, 3)
    hint = '`mae zoo convert --encoder-only`'
    assert hint in refused(new, old.state_dict())
    assert hint not in refused(new, old.state_dict(), exact=True)  # all of it is wanted
    old['encoder'] = classifier(4)['encoder']
    assert hint not in refused(new, old.state_dict())


def test_missing_and_unknown():
    message = refused(classifier(with_norm=True), classifier().state_dict())
    assert 'encoder.norm.weight is missing' in message
    weights = {**classifier().state_dict(), 'encoder.extra': torch.ones(1)}
    assert 'encoder.extra is unknown' in refused(classifier(), weights)


def test_weights_that_were_not_fine_tuned():
    message = refused(classifier(), pretrained().state_dict(), exact=True)
    assert message.startswith('some/epoch_1.pth has no head: it was not fine-tuned; ')
    encoder = {n: w for n, w in pretrained().state_dict().items() if n.startswith('encoder.')}
    assert 'not fine-tuned' in refused(classifier(with_norm=True), encoder, exact=True)
    part = classifier().state_dict()
    del part['head.weight']
    assert 'head.weight is missing' in refused(classifier(), part, exact=True)


def test_exact_allows_neither():
    model, source = classifier(), classifier()
    assert str(fit_weights(model, source.state_dict(), PATH, exact=True)) == '4 weights loaded'


def test_nothing_in_common():
    refused(classifier(), {'a': torch.ones(1)})
    refused(nn.ModuleDict({'head': nn.Linear(2, 2)}), {'decoder.a': torch.ones(1)})


def test_long_lists_are_cut():
    message = refused(classifier(), {f'encoder.x{n}': torch.ones(1) for n in range(9)})
    assert message.endswith('more')
    assert message.count(';') == 2


@pytest.mark.parametrize('exact', [True, False])
def test_checkpoint_without_an_encoder(exact):
    weights = {'decoder.bias': torch.ones(3), 'backbone.cls_token': torch.ones(1, 1, 3)}
    message = refused(classifier(), weights, exact=exact)
    assert message.startswith('some/epoch_1.pth has no encoder: ')
    assert 'backbone, decoder; expected encoder.* ' in message


def test_names_of_data_parallel_models():
    source, model = classifier(), classifier()
    weights = {f'module.{name}': value for name, value in source.state_dict().items()}
    fit_weights(model, weights, PATH, exact=True)
    assert torch.equal(model['head'].weight, source['head'].weight)


def test_part_of_a_decoder_is_not_enough():
    source, model = pretrained(), pretrained()
    weights = source.state_dict()
    del weights['decoder.bias']
    assert 'decoder.bias is missing' in refused(model, weights)
    weights.pop('decoder.weight')
    report = fit_weights(model, weights, PATH)
    assert set(report.missing) == {'decoder.weight', 'decoder.bias'}


def test_part_of_a_head_is_none():
    source, model = classifier(), classifier()
    weights = source.state_dict()
    del weights['head.bias']
    before = copied(model)
    report = fit_weights(model, weights, PATH)
    assert set(report.missing) == {'head.weight', 'head.bias'}
    assert torch.equal(model['head'].weight, before['head.weight'])
    assert 'head of the file is another' in str(report)


class WithFacts(nn.ModuleDict):
    def get_facts(self):
        return {'num_heads': 3, 'norm_eps': 1e-6, 'grid_size': (2, 3), 'norm_pix': None}


def test_facts_are_compared():
    model, weights = WithFacts(classifier()), classifier().state_dict()
    for facts, words in (
        ({'num_heads': 4}, 'num_heads is 4 there and 3 here; set encoder.arch.num_heads as there'),
        ({'grid_size': [3, 2]}, 'grid_size is (3, 2) there and (2, 3) here'),
    ):
        assert words in refused(model, weights, exact=True, facts=facts)
    report = fit_weights(
        model,
        weights,
        PATH,
        exact=True,
        facts={'grid_size': [2, 3], 'norm_eps': 1e-12},
        notes=['x'],
    )
    line = 'made with norm_eps 1e-12, here it is 1e-06: set encoder.norm_eps to be exact'
    assert str(report) == f'4 weights loaded; x; {line}'


class Named(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = Encoder(3, False)
        self.head = nn.ModuleDict({'fc_norm': nn.LayerNorm(3), 'fc': nn.Linear(3, classes)})


@pytest.mark.parametrize('here', [['c', 'a', 'b'], ['b', 'new']])
def test_rows_of_the_head_by_name(here):
    source, model = Named(3), Named(len(here))
    before = copied(model)
    report = fit_weights(
        model, source.state_dict(), PATH, facts={'classes': ['a', 'b', 'c']}, classes=here
    )
    for row, name in enumerate(here):
        expected = before['head.fc.bias'][row]
        if name in 'abc':
            expected = source.head['fc'].bias['abc'.index(name)]
        assert torch.equal(model.head['fc'].bias[row], expected)
    assert 'taken by name' in str(report)


def test_names_that_repeat_are_no_names():
    source, model = Named(3), Named(3)
    facts = {'classes': ['a', 'a', 'b']}
    report = fit_weights(model, source.state_dict(), PATH, facts=facts, classes=['b', 'a', 'c'])
    assert 'by name' not in str(report)
    assert torch.equal(model.head['fc'].weight, source.head['fc'].weight)


@pytest.mark.parametrize('width', [3, 4])
def test_a_head_of_other_classes_may_keep_its_norm(width):
    """As that of segmentation does; a norm of another width stays out too."""

    class Head(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.kept_parts = ('fc_norm',) if classes == 5 else ()
            self.fc_norm, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    source, model = classifier(), classifier()
    source['head'], model['head'] = Head(width, 9), Head(3, 5)
    nn.init.constant_(source['head'].fc_norm.weight, 7)
    weights = source.state_dict()
    report = fit_weights(model, weights, PATH)
    kept = width == 3
    assert (model['head'].fc_norm.weight == 7).all() == kept
    assert set(report.missing) == {
        f'head.{layer}.{kind}'
        for layer in (('fc',) if kept else ('fc', 'fc_norm'))
        for kind in ('weight', 'bias')
    }
    rest = ', but for head.fc_norm.bias; head.fc_norm.weight' if kept else ''
    assert report.adapted == [f'the head of the file is another and stays out{rest}']
