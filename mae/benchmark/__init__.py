"""Speed and memory of ours beside other implementations, each in its own process, interleaved."""

# The peers of each task, in the order of the table; each is a module of `mae.benchmark.peers`.
PEERS: dict[str, tuple[str, ...]] = {
    'step': ('transformers', 'mmpretrain', 'lightly', 'stable_pretraining'),
    'loader': ('torchvision', 'mmpretrain'),
    'runner': ('mmengine',),
    'evaluate': ('timm',),
    'finetune': ('timm',),
    'groups': ('ImageFolder',),
    'start': ('mmpretrain',),
    'segment': ('transformers',),
    'detect': ('torchvision',),
    'attention': ('products', 'flash', 'cudnn', 'efficient', 'math'),
}
# What the loaders read: JPEG files; the same with a short side of 256 pixels, ours in shards of
# `tools/data/pack.py` and the peers' as files; and shards of such pixels, which only ours read.
STORAGES = ('files', 'packed', 'pixels')
# What a peer calls a task whose own name means something else in the toolbox.
FUNCTIONS = {'detect': 'train_detector'}
# What `tools/benchmark.py gpu` asks a device, by number.
GPU_ROWS = {
    0: 'versions and the machine',
    1: 'ceilings: copies and products',
    2: 'kernels of attention: speed, and the same bits twice',
    3: 'our tests that use the device',
    4: 'masks, losses and gradients of a CPU; a step that is not finite',
    5: 'training, resumed, k-NN and fine-tuning by the tools',
    6: 'where the host waits for the device',
    7: 'pre-training step beside peers, and memory',
    8: 'pre-training step, compiled',
    9: 'time by kind of kernel; operators and bytes',
    10: 'fine-tuning step, eager and compiled',
    11: 'batches, residual stream, recomputation, ViT-L and ViT-H',
    12: 'input pipeline',
}
OURS = 'mae'
