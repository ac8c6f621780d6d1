"""MAE recipes of mmselfsup 0.x and 1.x by their published values, as config files.

Values from github.com/open-mmlab/mmselfsup (Apache-2.0): `configs/selfsup/mae` and
`configs/benchmarks/classification`.
"""

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
GREY = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'bgr_to_rgb': True}
SPARED = {'decay_mult': 0.0}


def text(values):
    """A config file with these variables."""
    return '\n'.join(f'{name} = {value!r}' for name, value in values.items())


def source(split, pipeline):
    """A data set of 0.x."""
    names = {'data_prefix': f'data/imagenet/{split}', 'ann_file': f'data/imagenet/meta/{split}.txt'}
    return {
        'type': 'SingleViewDataset',
        'data_source': {'type': 'ImageNet', **names},
        'pipeline': pipeline,
    }


def cosine(warmup, floor):
    """A learning-rate policy of 0.x."""
    return {
        'policy': 'StepFixCosineAnnealing',
        'min_lr': floor,
        'warmup': 'linear',
        'warmup_iters': warmup,
        'warmup_ratio': 1e-4,
        'warmup_by_epoch': True,
        'by_epoch': False,
    }


def two_schedulers(warmup, epochs, floor=None):
    """The same of 1.x."""
    common = {'by_epoch': True, 'convert_to_iter_based': True}
    rise = {'type': 'LinearLR', 'start_factor': 1e-4, 'begin': 0, 'end': warmup, **common}
    fall = {'type': 'CosineAnnealingLR', 'T_max': epochs - warmup, 'begin': warmup, 'end': epochs}
    return [rise, {**fall, **common, **({} if floor is None else {'eta_min': floor})}]


def mae_model(arch, **preprocessor):
    """The model of both, without what 1.x adds to it."""
    return {
        'type': 'MAE',
        **preprocessor,
        'backbone': {'type': 'MAEViT', 'arch': arch, 'patch_size': 16, 'mask_ratio': 0.75},
        'neck': {
            'type': 'MAEPretrainDecoder',
            'patch_size': 16,
            'in_chans': 3,
            'embed_dim': 768,
            'decoder_embed_dim': 512,
            'decoder_depth': 8,
            'decoder_num_heads': 16,
            'mlp_ratio': 4.0,
        },
        'head': {'type': 'MAEPretrainHead', 'norm_pix': True, 'patch_size': 16},
    }


RUNTIME_0X = {
    'log_config': {'interval': 100, 'hooks': [{'type': 'TextLoggerHook'}]},
    'checkpoint_config': {'interval': 1, 'max_keep_ckpts': 3, 'out_dir': ''},
    'dist_params': {'backend': 'nccl'},
    'workflow': [('train', 1)],
    'persistent_workers': True,
    'load_from': None,
    'resume_from': None,
    'optimizer_config': {},
}
PRETRAIN_0X = {
    'model': mae_model('b'),
    'data': {
        'samples_per_gpu': 512,
        'workers_per_gpu': 8,
        'train': source(
            'train',
            [
                {
                    'type': 'RandomResizedCrop',
                    'size': 224,
                    'scale': (0.2, 1.0),
                    'interpolation': 3,
                },
                {'type': 'RandomHorizontalFlip'},
                {'type': 'ToTensor'},
                {'type': 'Normalize', 'mean': MEAN, 'std': STD},
            ],
        ),
    },
    'optimizer': {
        'type': 'AdamW',
        'lr': 1.5e-4 * 4096 / 256,
        'weight_decay': 0.05,
        'betas': (0.9, 0.95),
        'paramwise_options': {
            name: {'weight_decay': 0.0}
            for name in ('norm', 'bias', 'pos_embed', 'mask_token', 'cls_token')
        },
    },
    'lr_config': cosine(40, 0.0),
    'runner': {'type': 'EpochBasedRunner', 'max_epochs': 400},
    **RUNTIME_0X,
}
FINETUNE_0X = {
    'model': {
        'type': 'Classification',
        'backbone': {
            'type': 'MIMVisionTransformer',
            'arch': 'b',
            'patch_size': 16,
            'drop_path_rate': 0.1,
            'final_norm': False,
        },
        'head': {
            'type': 'MAEFinetuneHead',
            'num_classes': 1000,
            'embed_dim': 768,
            'label_smooth_val': 0.1,
        },
        'train_cfg': {
            'augments': [
                {'type': 'BatchMixup', 'alpha': 0.8, 'num_classes': 1000, 'prob': 0.5},
                {'type': 'BatchCutMix', 'alpha': 1.0, 'num_classes': 1000, 'prob': 0.5},
            ]
        },
    },
    'data': {
        'samples_per_gpu': 128,
        'workers_per_gpu': 32,
        'drop_last': False,
        'train': source(
            'train',
            [
                {
                    'type': 'RandomAug',
                    'input_size': 224,
                    'color_jitter': None,
                    'auto_augment': 'rand-m9-mstd0.5-inc1',
                    'interpolation': 'bicubic',
                    're_prob': 0.25,
                    're_mode': 'pixel',
                    're_count': 1,
                    'mean': tuple(MEAN),
                    'std': tuple(STD),
                }
            ],
        ),
        'val': source(
            'val',
            [
                {'type': 'Resize', 'size': 256, 'interpolation': 3},
                {'type': 'CenterCrop', 'size': 224},
                {'type': 'ToTensor'},
                {'type': 'Normalize', 'mean': MEAN, 'std': STD},
            ],
        ),
    },
    'evaluation': {'interval': 10, 'topk': (1, 5)},
    'optimizer': {
        'type': 'AdamW',
        'lr': 1e-3 * 1024 / 256,
        'weight_decay': 0.05,
        'betas': (0.9, 0.999),
        'paramwise_options': {
            name: {'weight_decay': 0.0} for name in ('norm', 'bias', 'pos_embed', 'cls_token')
        },
        'constructor': 'TransformerFinetuneConstructor',
        'model_type': 'vit',
        'layer_decay': 0.65,
    },
    'lr_config': cosine(5, 1e-6),
    'runner': {'type': 'EpochBasedRunner', 'max_epochs': 100},
    **RUNTIME_0X,
}

LOAD = {'type': 'LoadImageFromFile', 'file_client_args': {'backend': 'disk'}}
PILLOW = {'backend': 'pillow', 'interpolation': 'bicubic'}
HOOKS_1X = {
    'runtime_info': {'type': 'RuntimeInfoHook'},
    'timer': {'type': 'IterTimerHook'},
    'logger': {'type': 'LoggerHook', 'interval': 100},
    'param_scheduler': {'type': 'ParamSchedulerHook'},
    'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 3},
    'sampler_seed': {'type': 'DistSamplerSeedHook'},
}
PRETRAIN_1X = {
    'model': mae_model('l', data_preprocessor=GREY),
    'train_dataloader': {
        'batch_size': 512,
        'num_workers': 8,
        'persistent_workers': True,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'collate_fn': {'type': 'default_collate'},
        'dataset': {
            'type': 'mmcls.ImageNet',
            'data_root': 'data/imagenet/',
            'ann_file': 'meta/train.txt',
            'data_prefix': {'img_path': 'train/'},
            'pipeline': [
                LOAD,
                {'type': 'RandomResizedCrop', 'size': 224, 'scale': (0.2, 1.0), **PILLOW},
                {'type': 'RandomFlip', 'prob': 0.5},
                {'type': 'PackSelfSupInputs', 'meta_keys': ['img_path']},
            ],
        },
    },
    'optim_wrapper': {
        'type': 'AmpOptimWrapper',
        'loss_scale': 'dynamic',
        'optimizer': {
            'type': 'AdamW',
            'lr': 1.5e-4 * 4096 / 256,
            'betas': (0.9, 0.95),
            'weight_decay': 0.05,
        },
        'paramwise_cfg': {
            'custom_keys': dict.fromkeys(
                ('ln', 'bias', 'pos_embed', 'mask_token', 'cls_token'), SPARED
            )
        },
    },
    'param_scheduler': two_schedulers(40, 1600),
    'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': 1600},
    'default_hooks': HOOKS_1X,
    'default_scope': 'mmselfsup',
    'randomness': {'seed': 0, 'diff_rank_seed': True},
    'resume': True,
}
FINETUNE_1X = {
    'model': {
        'type': 'ImageClassifier',
        'backbone': {
            'type': 'VisionTransformer',
            'arch': 'base',
            'img_size': 224,
            'patch_size': 16,
            'drop_path_rate': 0.1,
            'avg_token': True,
            'output_cls_token': False,
            'final_norm': False,
            'init_cfg': {'type': 'Pretrained', 'checkpoint': ''},
        },
        'neck': None,
        'head': {
            'type': 'LinearClsHead',
            'num_classes': 1000,
            'in_channels': 768,
            'loss': {'type': 'LabelSmoothLoss', 'label_smooth_val': 0.1, 'mode': 'original'},
            'init_cfg': [{'type': 'TruncNormal', 'layer': 'Linear', 'std': 2e-5}],
        },
        'train_cfg': {
            'augments': [
                {'type': 'Mixup', 'alpha': 0.8, 'num_classes': 1000},
                {'type': 'CutMix', 'alpha': 1.0, 'num_classes': 1000},
            ]
        },
    },
    'data_preprocessor': {**GREY, 'num_classes': 1000},
    'train_dataloader': {
        'batch_size': 128,
        'dataset': {
            'type': 'ImageNet',
            'data_root': 'data/imagenet',
            'pipeline': [
                LOAD,
                {'type': 'RandomResizedCrop', 'scale': 224, **PILLOW},
                {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
                {
                    'type': 'RandAugment',
                    'policies': 'timm_increasing',
                    'num_policies': 2,
                    'total_level': 10,
                    'magnitude_level': 9,
                    'magnitude_std': 0.5,
                    'hparams': {'pad_val': [104, 116, 124], 'interpolation': 'bicubic'},
                },
                {
                    'type': 'RandomErasing',
                    'erase_prob': 0.25,
                    'mode': 'rand',
                    'min_area_ratio': 0.02,
                    'max_area_ratio': 1 / 3,
                    'fill_color': [103.53, 116.28, 123.675],
                    'fill_std': [57.375, 57.12, 58.395],
                },
                {'type': 'PackClsInputs'},
            ],
        },
    },
    'val_dataloader': {
        'batch_size': 128,
        'dataset': {
            'pipeline': [
                LOAD,
                {'type': 'ResizeEdge', 'scale': 256, 'edge': 'short', **PILLOW},
                {'type': 'CenterCrop', 'crop_size': 224},
                {'type': 'PackClsInputs'},
            ]
        },
    },
    'custom_imports': {'imports': 'mmselfsup.engine', 'allow_failed_imports': False},
    'optim_wrapper': {
        'optimizer': {
            'type': 'AdamW',
            'lr': 2e-3,
            'weight_decay': 0.05,
            'eps': 1e-8,
            'betas': (0.9, 0.999),
            'model_type': 'vit',
            'layer_decay_rate': 0.65,
        },
        'constructor': 'mmselfsup.LearningRateDecayOptimWrapperConstructor',
        'paramwise_cfg': {
            'norm_decay_mult': 0.0,
            'bias_decay_mult': 0.0,
            'custom_keys': {'.cls_token': SPARED, '.pos_embed': SPARED},
        },
    },
    'param_scheduler': two_schedulers(5, 100, 1e-6),
    'train_cfg': {'by_epoch': True, 'max_epochs': 100},
    'default_hooks': HOOKS_1X,
    'randomness': {'seed': 0},
}
LINEAR_1X = {
    **FINETUNE_1X,
    'model': {
        'type': 'ImageClassifier',
        'backbone': {
            'type': 'VisionTransformer',
            'arch': 'base',
            'img_size': 224,
            'patch_size': 16,
            'frozen_stages': 12,
            'avg_token': False,
            'final_norm': True,
            'init_cfg': {'type': 'Pretrained', 'checkpoint': ''},
        },
        'neck': {'type': 'mmselfsup.ClsBatchNormNeck', 'input_features': 768},
        'head': {
            'type': 'VisionTransformerClsHead',
            'num_classes': 1000,
            'in_channels': 768,
            'loss': {'type': 'CrossEntropyLoss'},
            'init_cfg': [{'type': 'TruncNormal', 'layer': 'Linear', 'std': 0.01}],
        },
    },
    'train_dataloader': {
        'batch_size': 2048,
        'dataset': {
            'type': 'ImageNet',
            'data_root': 'data/imagenet',
            'pipeline': [
                LOAD,
                {'type': 'RandomResizedCrop', 'scale': 224, 'backend': 'pillow'},
                {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
                {'type': 'PackClsInputs'},
            ],
        },
    },
    'optim_wrapper': {
        'type': 'AmpOptimWrapper',
        'optimizer': {
            'type': 'mmselfsup.LARS',
            'lr': 6.4,
            'weight_decay': 0.0,
            'momentum': 0.9,
        },
    },
    'param_scheduler': two_schedulers(10, 90, 0.0),
    'train_cfg': {'by_epoch': True, 'max_epochs': 90},
}
