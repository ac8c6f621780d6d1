"""Speed and memory of ours beside other implementations, each in its own process, interleaved."""

# The peers of each task, in the order of the table; each is a module of `mae.benchmark.peers`.
PEERS: dict[str, tuple[str, ...]] = {
    'step': ('transformers', 'mmpretrain', 'lightly'),
    'loader': ('torchvision', 'mmpretrain'),
    'runner': ('mmengine',),
    'evaluate': ('timm',),
    'finetune': ('timm',),
    'start': ('mmpretrain',),
    'segment': ('transformers',),
    'detect': ('torchvision',),
    'attention': ('products', 'flash', 'cudnn', 'efficient', 'math'),
}
# What a peer calls a task whose own name means something else in the toolbox.
FUNCTIONS = {'detect': 'train_detector'}
OURS = 'mae'
