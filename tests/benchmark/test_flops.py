"""The counts that the literature states, and PyTorch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mae.apis import load_config
from mae.benchmark import flops
from mae.benchmark.ours import features, finetuning, pretrainer, pretraining
from mae.registry import MODELS

FORMAT = 'mae_vit-{}_8xb512-amp-coslr-400e_in1k'


def on_meta(name):
    with torch.device('meta'):
        return MODELS.build(load_config(name).model)


@pytest.mark.parametrize(
    ('size', 'training'), [('base-p16', 58.5), ('large-p16', 124), ('huge-p14', 291)]
)
def test_published_counts(size, training):
    model = on_meta(FORMAT.format(size))
    forward = flops.pretraining(model)
    assert flops.training(forward, model.encoder) / 1e9 == pytest.approx(training, rel=2e-3)


def test_base_forward():
    model = on_meta(FORMAT.format('base-p16'))
    assert flops.pretraining(model) / 1e9 == pytest.approx(19.56, abs=5e-3)
    blocks = flops.blocks(model.decoder.blocks, 197)
    assert blocks / flops.pretraining(model) == pytest.approx(0.54, abs=5e-3)


def test_block():
    assert flops.block(7, 16) == 24 * 7 * 16**2 + 4 * 7**2 * 16


def counted(work):
    # PyTorch counts no attention kernel of the CPU: let it see plain products.
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        work()
    return counter.get_total_flops()


def test_features_are_what_pytorch_counts(make_job):
    given = features(make_job(batch_size=2))
    ours = counted(lambda: given.model.extract_features(given.images))
    assert ours == 2 * flops.features(given.model.encoder)


def test_classifier_is_what_pytorch_counts(make_job):
    given = finetuning(make_job('vit-mini-p4_ft-1xb128-coslr-40e_digits-16', 2))
    for block in given.model.blocks():
        block.drop_path.rate = 0.0  # images that a block leaves out are not computed
    assert counted(lambda: given.model(given.images)) == 2 * flops.classification(given.model)
    loss = counted(lambda: given.model(given.images, given.labels, mode='loss')['loss'].backward())
    expected = flops.training(flops.classification(given.model), given.model.encoder)
    assert loss == 2 * expected


def test_our_step_does_less_than_the_method_asks_for(make_job):
    given = pretraining(make_job(batch_size=2))
    system = pretrainer(given)
    forward = counted(lambda: system.loss(2))
    full = 2 * flops.pretraining(given.model)
    assert 0.5 * full < forward < full
