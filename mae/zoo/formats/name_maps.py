"""The known layouts: ours, the authors', timm's, transformers', OpenMMLab's, lightly."""

from mae.zoo.formats.name_map import INNER, Layout

_WHOLE = tuple((name,) for name in INNER)
_ENCODER = {name: name for name in ('cls_token', 'pos_embed', 'patch_embed.proj', 'blocks', 'norm')}
_DECODER = {
    'decoder.embed': 'decoder_embed',
    'decoder.mask_token': 'mask_token',
    'decoder.pos_embed': 'decoder_pos_embed',
    'decoder.blocks': 'decoder_blocks',
    'decoder.norm': 'decoder_norm',
    'decoder.pred': 'decoder_pred',
}
_HEADS = {
    'avg': {'head.fc_norm': 'fc_norm', 'head.fc': 'head'},
    'cls': {'head.fc': 'head'},
}


def _prefixed(prefix: str, names: dict[str, str], ours: str = '') -> dict[str, str]:
    return {f'{ours}{name}': f'{prefix}{theirs}' for name, theirs in names.items()}


MAE = Layout(
    name='mae',
    title='this toolbox',
    outer={
        **_prefixed('encoder.', _ENCODER, 'encoder.'),
        **{name: name for name in _DECODER},
    },
    inner=_WHOLE,
    heads={
        kind: {'head.fc_norm': 'head.fc_norm', 'head.fc': 'head.fc', 'head.fcs': 'head.fcs'}
        for kind in ('avg', 'cls', 'probe')
    },
)

TIMM = Layout(
    name='timm',
    title="timm (the authors' encoders are alike)",
    outer=_prefixed('', _ENCODER, 'encoder.'),
    inner=_WHOLE,
    heads=_HEADS,
)

FAIR = Layout(
    name='fair',
    title='the authors of MAE',
    outer={**TIMM.outer, **_DECODER},
    inner=_WHOLE,
    heads={**_HEADS, 'probe': {'head.fc_norm': 'head.0', 'head.fc': 'head.1'}},
)

# Written as its version 4 and the hub do: version 5 reads that too, version 4 nothing else.
TRANSFORMERS = Layout(
    name='transformers',
    title='transformers',
    outer={
        'encoder.cls_token': 'vit.embeddings.cls_token',
        'encoder.pos_embed': 'vit.embeddings.position_embeddings',
        'encoder.patch_embed.proj': 'vit.embeddings.patch_embeddings.projection',
        'encoder.blocks': 'vit.encoder.layer',
        'encoder.norm': 'vit.layernorm',
        **_prefixed('decoder.', {**_DECODER, 'decoder.blocks': 'decoder_layers'}),
    },
    inner=(
        ('layernorm_before',),
        tuple(f'attention.attention.{part}' for part in ('query', 'key', 'value')),
        ('attention.output.dense',),
        ('layernorm_after',),
        ('intermediate.dense',),
        ('output.dense',),
    ),
    heads={'cls': {'head.fc': 'classifier'}},
    aliases=(
        (r'^(?=(embeddings|encoder|layers|layernorm|pooler)\.)', 'vit.'),
        (r'^vit\.layers\.', 'vit.encoder.layer.'),
        # What `save_pretrained` of version 5 makes of the decoder.
        (r'^decoder\.decoder_encoder\.layer\.', 'decoder.decoder_layers.'),
        (r'\.attention\.q_proj\.', '.attention.attention.query.'),
        (r'\.attention\.k_proj\.', '.attention.attention.key.'),
        (r'\.attention\.v_proj\.', '.attention.attention.value.'),
        (r'\.attention\.o_proj\.', '.attention.output.dense.'),
        (r'\.mlp\.fc1\.', '.intermediate.dense.'),
        (r'\.mlp\.fc2\.', '.output.dense.'),
    ),
    dropped={r'^(vit\.)?pooler\.': 'the pooler, which no head here reads'},
)

MMPRETRAIN = Layout(
    name='mmpretrain',
    title='mmpretrain or mmselfsup',
    outer={
        **_prefixed('backbone.', {**_ENCODER, 'blocks': 'layers', 'norm': 'ln1'}, 'encoder.'),
        'encoder.patch_embed.proj': 'backbone.patch_embed.projection',
        **_prefixed('neck.', {**_DECODER, 'decoder.norm': 'ln1'}),
    },
    inner=(
        ('ln1',),
        ('attn.qkv',),
        ('attn.proj',),
        ('ln2',),
        ('ffn.layers.0.0',),
        ('ffn.layers.1',),
    ),
    heads={
        'avg': {'head.fc_norm': 'backbone.ln2', 'head.fc': 'head.fc'},
        'cls': {'head.fc': 'head.layers.head'},
        'probe': {'head.fc_norm': 'neck.bn', 'head.fc': 'head.layers.head'},
    },
    aliases=(
        (r'^(?=(cls_token$|pos_embed$|patch_embed\.|layers\.|ln[12]\.))', 'backbone.'),
        # The heads of mmselfsup 0.x.
        (r'^backbone\.fc_norm\.', 'backbone.ln2.'),
        (r'^head\.head\.', 'head.layers.head.'),
        (r'^head\.bn\.', 'neck.bn.'),
    ),
    dropped={r'^data_preprocessor\.(mean|std)$': 'constants of the preprocessor'},
)

LIGHTLY = Layout(
    name='lightly',
    title='lightly',
    outer={
        **_prefixed('backbone.vit.', _ENCODER, 'encoder.'),
        'decoder.embed': 'decoder_embed',
        **_prefixed(
            'decoder.',
            {f'decoder.{name}': name for name in ('mask_token', 'pos_embed', 'blocks', 'norm')},
        ),
        'decoder.pred': 'prediction_head',
    },
    inner=_WHOLE,
    aliases=(
        (r'^vit\.', 'backbone.vit.'),
        # Before version 1.6 all weights were part of the decoder.
        (r'^decoder\.decoder_embed\.', 'decoder_embed.'),
        (r'^decoder\.decoder_pred\.', 'prediction_head.'),
        (r'^decoder\.decoder_(pos_embed$|blocks\.|norm\.)', r'decoder.\1'),
    ),
    dropped={
        r'^(backbone\.)?mask_token$': "the backbone's mask token, which MAE does not use",
        r'^(backbone\.)?vit\.head\.': "timm's head, which pre-training leaves untrained",
        r'^online_classifier\.': 'the online classifier',
    },
)

# Where two fit a file equally well, the first is taken.
LAYOUTS = (MAE, TIMM, FAIR, TRANSFORMERS, MMPRETRAIN, LIGHTLY)
BY_NAME = {layout.name: layout for layout in LAYOUTS}
