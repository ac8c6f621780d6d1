"""Encoders and classifiers of peers: the same features and logits, there and back."""

import re
from functools import partial
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mae.apis import convert
from mae.fault_tolerance.checkpoint import fit_weights, read_model
from mae.models import algorithms
from mae.utils.errors import CheckpointError
from mae.zoo.formats import load_weights

TOLERANCE = 1e-5
OF_TIMM = {'avg': 'avg', 'cls': 'token'}


def close(ours, theirs):
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < TOLERANCE


def vit_of_timm(size, pool, num_classes=7):
    return VisionTransformer(
        img_size=size.img_size, patch_size=size.patch, in_chans=size.channels,
        embed_dim=size.dim, depth=size.depth, num_heads=size.heads,
        mlp_ratio=size.hidden / size.dim, num_classes=num_classes, global_pool=OF_TIMM[pool],
    )  # fmt: skip


def vit_of_mmpretrain(size, pool, probe=False):
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS

    arch = dict(embed_dims=size.dim, num_layers=size.depth, num_heads=size.heads)
    arch['feedforward_channels'] = size.hidden
    backbone = dict(
        type='VisionTransformer', arch=arch, img_size=size.img_size, patch_size=size.patch,
        in_channels=size.channels, final_norm=pool == 'cls',
        out_type={'avg': 'avg_featmap', 'cls': 'cls_token'}[pool],
    )  # fmt: skip
    kind = {'avg': 'LinearClsHead', 'cls': 'VisionTransformerClsHead'}[pool]
    head = dict(type=kind, num_classes=7, in_channels=size.dim)
    neck = dict(type='ClsBatchNormNeck', input_features=size.dim) if probe else None
    model = dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
    return MODELS.build({**model, '_scope_': 'mmpretrain'})


class Probed(nn.Module):
    """A linear probe in the authors' names."""

    def __init__(self, size):
        super().__init__()
        self.vit = vit_of_timm(size, 'cls')
        norm = nn.BatchNorm1d(size.dim, affine=False, eps=1e-6)
        self.vit.head = nn.Sequential(norm, self.vit.head)

    def forward(self, images):
        return self.vit(images)


def of_transformers(size):
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=size.dim, num_hidden_layers=size.depth, num_attention_heads=size.heads,
            intermediate_size=size.hidden, image_size=size.img_size, patch_size=size.patch,
            num_channels=size.channels, layer_norm_eps=1e-5,
            id2label=dict(enumerate('abcdefg')), label2id={n: i for i, n in enumerate('abcdefg')},
        )
    )  # fmt: skip


PEERS = {
    'timm-avg': ('timm', partial(vit_of_timm, pool='avg')),
    'timm-cls': ('timm', partial(vit_of_timm, pool='cls')),
    'mmpretrain-avg': ('mmpretrain', partial(vit_of_mmpretrain, pool='avg')),
    'mmpretrain-cls': ('mmpretrain', partial(vit_of_mmpretrain, pool='cls')),
    'mmpretrain-probe': ('mmpretrain', partial(vit_of_mmpretrain, pool='cls', probe=True)),
    'fair-probe': ('fair', Probed),
    'transformers-cls': ('transformers', of_transformers),
}


def save(name, model, folder):
    if name.startswith('transformers'):
        model.save_pretrained(folder / 'source')
        return folder / 'source'
    weights = model.vit.state_dict() if name == 'fair-probe' else model.state_dict()
    torch.save(weights if name.startswith('timm') else {'model': weights}, folder / 'source.pth')
    return folder / 'source.pth'


def our_classifier(size, kind, norm_eps=1e-6, num_classes=7):
    arch = dict(embed_dim=size.dim, depth=size.depth, num_heads=size.heads)
    norms = {'avg': 'layer', 'cls': 'none', 'probe': 'batch'}
    model = algorithms.Classifier(
        encoder=dict(
            type='ViTEncoder', arch=arch, img_size=size.img_size, patch_size=size.patch,
            in_channels=size.channels, mlp_ratio=size.hidden / size.dim, norm_eps=norm_eps,
            final_norm=kind != 'avg',
        ),
        head=dict(type='LinearHead', num_classes=num_classes,
                  pool='avg' if kind == 'avg' else 'cls', norm=norms[kind]),
        loss=dict(type='CrossEntropyLoss'),
        preprocessor=dict(type='ImagePreprocessor', mean=[0.0], std=[1.0]),
    )  # fmt: skip
    model.init_weights()
    return model.eval()


def load(model, path, exact=True, **options):
    found = load_weights(path)
    return fit_weights(
        model, found['state_dict'], path, exact=exact, facts=found['facts'],
        notes=found['notes'], **options,
    )  # fmt: skip


@pytest.fixture
def small(sizes):
    return sizes['small']


@pytest.mark.parametrize('name', PEERS)
@torch.inference_mode()
def test_logits_there_and_back(name, small, fill, tmp_path):
    to, build = PEERS[name]
    theirs = fill(build, small)
    source = save(name, theirs, tmp_path)
    eps = 1e-5 if to == 'transformers' else 1e-6
    model = our_classifier(small, name.split('-')[1], eps)
    load(model, source)
    images = torch.randn(3, small.channels, small.img_size, small.img_size)

    def logits(theirs):
        out = theirs(images)
        return out.logits if to == 'transformers' else out

    close(model(images), logits(theirs))

    back = tmp_path / ('back' if to == 'transformers' else 'back.pth')
    convert(source, back, to, facts={'num_heads': 3})
    if to == 'transformers':
        from transformers import ViTForImageClassification

        again, info = ViTForImageClassification.from_pretrained(back, output_loading_info=True)
        assert not any(info.values()), info
        assert again.config.id2label == dict(enumerate('abcdefg'))
        assert again.config.layer_norm_eps == 1e-5
        again.eval()
    else:
        again = fill(build, small)
        weights = read_model(back)['state_dict']
        (again.vit if name == 'fair-probe' else again).load_state_dict(weights, strict=True)
    assert torch.equal(logits(again), logits(theirs))


@pytest.mark.parametrize('to', ['timm', 'transformers'])
@torch.inference_mode()
def test_a_probe_leaves_with_its_norm_folded_in(to, small, fill, tmp_path):
    theirs = fill(Probed, small)
    norm = theirs.vit.head[0]
    norm.running_var.copy_(torch.rand(small.dim) + 0.3)
    source = save('fair-probe', theirs, tmp_path)
    out = tmp_path / ('out' if to == 'transformers' else 'out.safetensors')
    done = convert(source, out, to, facts={'num_heads': 3})
    assert any('folded' in line for line in done.lines)
    model = our_classifier(small, 'cls')
    load(model, out)
    images = torch.randn(2, small.channels, small.img_size, small.img_size)
    close(model(images), theirs(images))


def test_an_averaging_head_is_not_for_transformers(small, fill, tmp_path):
    source = save('timm-avg', fill(partial(vit_of_timm, pool='avg'), small), tmp_path)
    with pytest.raises(CheckpointError, match=r'head averages the patches; write it for timm'):
        convert(source, tmp_path / 'out', 'transformers', facts={'num_heads': 3})
    assert not list(tmp_path.glob('*out*'))


@torch.inference_mode()
def test_timm_creates_a_vit_base_from_ours(sizes, peers, fill, tmp_path):
    from mae.zoo.formats import BY_NAME, export_weights, translate

    weights = fill(peers['fair'].build, sizes['base']).state_dict()
    found = translate({'state_dict': weights}, tmp_path)
    exported = export_weights(found.weights, BY_NAME['timm'], found.facts, tmp_path)
    assert any('left out the decoder' in line for line in exported.notes)
    with torch.device('meta'):
        model = timm.create_model('vit_base_patch16_224', num_classes=0)
    model.load_state_dict(exported.weights, strict=True, assign=True)
    assert model.norm.weight.device.type == 'cpu'


@pytest.mark.parametrize('kind', ['ViTModel', 'ViTMAEModel'])
@torch.inference_mode()
def test_encoders_of_transformers(kind, small, fill, tmp_path):
    import transformers

    config = of_transformers(small).config
    if kind == 'ViTMAEModel':
        config = transformers.ViTMAEConfig(
            **{**config.to_dict(), 'model_type': 'vit_mae', 'mask_ratio': 0.0}
        )
    theirs = fill(getattr(transformers, kind), config)
    theirs.save_pretrained(tmp_path / 'source')
    model = our_classifier(small, 'cls', 1e-5)
    report = load(model, tmp_path / 'source', exact=False)
    assert {name.split('.')[0] for name in report.missing} == {'head'}
    images = torch.randn(2, small.channels, small.img_size, small.img_size)
    noise = {'noise': torch.arange(9).float().expand(2, -1)} if kind == 'ViTMAEModel' else {}
    close(model.encoder(images), theirs(images, **noise).last_hidden_state)

    convert(tmp_path / 'source', tmp_path / 'back', 'transformers')
    _, info = transformers.ViTModel.from_pretrained(
        tmp_path / 'back', add_pooling_layer=False, output_loading_info=True
    )
    assert not any(info.values()), info


def test_other_eps_is_said(small, fill, tmp_path):
    source = save('transformers-cls', fill(of_transformers, small), tmp_path)
    report = load(our_classifier(small, 'cls'), source)
    assert re.search('norm_eps 1e-05, .* 1e-06: set encoder.norm_eps ', str(report))
    done = convert(source, tmp_path / 'out.safetensors', 'timm')
    assert any('norm_eps 1e-05, which timm' in line for line in done.lines)


def test_other_heads_are_refused(small, fill, tmp_path):
    source = save('transformers-cls', fill(of_transformers, small), tmp_path)
    other = SimpleNamespace(**{**vars(small), 'heads': 4})
    with pytest.raises(CheckpointError, match='num_heads is 3 there and 4 here'):
        load(our_classifier(other, 'cls', 1e-5), source)


def test_classes_are_taken_by_name(small, fill, tmp_path):
    theirs = fill(of_transformers, small)
    source = save('transformers-cls', theirs, tmp_path)
    model = our_classifier(small, 'cls', 1e-5, num_classes=4)
    fresh = model.head.fc.weight.detach().clone()
    report = load(model, source, exact=False, classes=['g', 'new', 'b', 'a'])
    line = 'head: 3 classes taken by name, 1 of 4 start fresh, 4 of 7 left out'
    assert line in str(report)
    rows = theirs.classifier.weight
    assert torch.equal(model.head.fc.weight[[0, 2, 3]], rows[[6, 1, 0]])
    assert torch.equal(model.head.fc.weight[1], fresh[1])


def test_a_head_that_pools_otherwise_stays_out(small, fill, tmp_path):
    source = save('timm-cls', fill(partial(vit_of_timm, pool='cls'), small), tmp_path)
    model = our_classifier(small, 'avg')
    fresh = model.head.fc.weight.detach().clone()
    report = load(model, source, exact=False)
    assert torch.equal(model.head.fc.weight, fresh)
    assert 'head of the file is another' in str(report)
    with pytest.raises(CheckpointError, match=r'head.fc_norm.weight is missing'):
        load(model, source)


def test_heads_of_mmselfsup_before_1(small, fill, tmp_path):
    theirs = fill(partial(vit_of_mmpretrain, pool='avg'), small).state_dict()
    old = {
        name.replace('backbone.ln2', 'backbone.fc_norm').replace('head.fc', 'head.head'): value
        for name, value in theirs.items()
    }
    torch.save({'state_dict': old, 'meta': {'CLASSES': list('abcdefg')}}, tmp_path / 'old.pth')
    model = our_classifier(small, 'avg')
    load(model, tmp_path / 'old.pth')
    assert torch.equal(model.head.fc_norm.weight, theirs['backbone.ln2.weight'])
    assert torch.equal(model.head.fc.weight, theirs['head.fc.weight'])
    assert load_weights(tmp_path / 'old.pth')['facts']['classes'] == list('abcdefg')
