"""Linear probes of ViT-B/16 on the realms of OmniBenchmark; the others for it here inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/omnibenchmark.py',
]

test_cfg = dict(type='GroupProbeLoop', pool='cls', choose_by='top1')
test_evaluator = [dict(type='Accuracy', topk=1), dict(type='PerClass')]
