"""What the name of a config promises, in the OpenMMLab grammar.

`{algorithm}_{arch}_{job}-{gpus}xb{batch}-{amp}-{schedule}-{epochs}e_{data}[-{size}]`

Data: `in1k` is ImageNet-1k, `in-c in-a in-r in-sketch in-v2 in-real` are what its classifiers are
tested on, `inat17 inat18 inat19 places205 places365 omni` are sets of transfer, `any` is what the
user has. `digits` and `fashion` are small; of these `-c` is corrupted, `-lt` has a long tail, and
`-0to4` has these classes alone.
"""

import re
from dataclasses import dataclass

_NAME = re.compile(
    r'(?P<algorithm>mae_)?vit-(?P<arch>[a-z]+)-p(?P<patch>\d+)_'
    r'((?P<ablation>(dec|mask|target|aug|lowres)-[a-z0-9-]+)_)?'
    r'((?P<job>ft|scratch|linear|knn|probe|test)(-(?P<variant>last\d+|half|grid))?-)?'
    r'(?P<gpus>\d+)xb(?P<batch>\d+)(?P<amp>-amp)?(-coslr-(?P<epochs>\d+)e)?(?P<paper>-paper)?_'
    r'(?P<data>in1k|in-(c|a|r|sketch|v2|real)|inat1[789]|places(205|365)|omni|any'
    r'|(digits|fashion)(-(c|lt|\d+to\d+))?)(-(?P<size>\d+))?(-(?P<percent>\d+)pct)?'
)
_SIZES = {'fashion': 28}  # of the images, where it is not 224


@dataclass(frozen=True)
class Promise:
    """The parts of a name.

    Attributes:
        algorithm: whether it names MAE, as pre-training does.
        arch: size of the ViT.
        patch: side of a patch.
        ablation: what differs from the default of the paper's table 1, or from its maths:
            'dec-depth2', 'dec-cross-predict25', 'lowres-128-100e', 'target-hog'.
        job: 'ft', 'scratch' or 'linear', which train a classifier; 'test' of one; 'knn' or
            'probe' of frozen features; None is pre-training.
        variant: 'half' or 'last4' of the blocks fine-tuned, or 'grid' of learning rates.
        gpus: devices.
        batch: images a device.
        amp: whether in mixed precision.
        epochs: None where nothing is trained.
        paper: whether with the paper's values where the authors' repository has others.
        data: 'in1k', 'in-a', 'inat17', 'digits' and so on.
        size: side of the images in pixels; 28 of fashion and 224 of all others unless named.
        percent: share of the labels, 100 unless named.
    """

    algorithm: bool
    arch: str
    patch: int
    ablation: str | None
    job: str | None
    variant: str | None
    gpus: int
    batch: int
    amp: bool
    epochs: int | None
    paper: bool
    data: str
    size: int
    percent: int

    @property
    def is_trained(self) -> bool:
        """Whether a run trains weights, and does not only test them."""
        return self.job not in ('knn', 'probe', 'test')

    @property
    def has_head(self) -> bool:
        """Whether the model is a classifier."""
        return self.job not in (None, 'knn', 'probe')

    @property
    def trainable_blocks(self) -> float | None:
        """What `model.trainable_blocks` keeps the promise."""
        if self.job == 'linear':
            return 0
        if self.variant == 'half':
            return 0.5
        return int(self.variant.removeprefix('last')) if self.variant else None


def parse_name(stem: str) -> Promise | None:
    """The promise of a config's name, or None if it is not of that grammar."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    part = match.groupdict()
    return Promise(
        algorithm=bool(part['algorithm']),
        arch=part['arch'],
        patch=int(part['patch']),
        ablation=part['ablation'],
        job=part['job'],
        variant=part['variant'],
        gpus=int(part['gpus']),
        batch=int(part['batch']),
        amp=bool(part['amp']),
        epochs=int(part['epochs']) if part['epochs'] else None,
        paper=bool(part['paper']),
        data=part['data'],
        size=int(part['size'] or _SIZES.get(part['data'].partition('-')[0], 224)),
        percent=int(part['percent'] or 100),
    )
