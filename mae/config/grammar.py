"""What the name of a config promises, in the OpenMMLab grammar.

`{algorithm}_{arch}_{job}-{gpus}xb{batch}-{amp}-{schedule}-{length}_{data}[-{size}]`

Job: none pre-trains; `ft scratch linear knn probe test` are of classifiers. `upernet` and
`seg-linear`, a linear layer on every patch, segment; `mask-rcnn-fpn`, `mask-rcnn-vitdet` and
`mask-rcnn-single-scale`, whose heads see the encoder's map alone, or `cascade-mask-rcnn-...`,
detect. Schedule and length: `coslr polylr steplr`, `100e` or `160k` steps.

Data: `in1k` is ImageNet-1k, `in-c in-a in-r in-sketch in-v2 in-real` are what its classifiers are
tested on, `inat17 inat18 inat19 places205 places365 omni` are sets of transfer, `in-s50 in-s300
in-s919` (ImageNet-S) and `ade20k` have label maps, `coco` has objects, `digit-scenes` both; `any`
is what the user has. `digits`, `fashion` and `crops` of photographs are small; of the first two
`-c` is corrupted, `-lt` has a long tail, and `-0to4` has these classes alone.
"""

import re
from dataclasses import dataclass
from typing import Literal

_NAME = re.compile(
    r'(?P<algorithm>mae_)?vit-(?P<arch>[a-z]+)-p(?P<patch>\d+)_'
    r'((?P<ablation>(dec|mask|target|aug|lowres)-[a-z0-9-]+)_)?'
    r'((?P<job>ft|scratch|linear|knn|probe|test|upernet|seg-linear'
    r'|(cascade-)?mask-rcnn-(fpn|vitdet|single-scale))'
    r'(-(?P<variant>last\d+|half|grid|scratch|frozen|sup))?-)?'
    r'(?P<gpus>\d+)xb(?P<batch>\d+)(?P<amp>-amp)?'
    r'(-(?P<schedule>cos|poly|step)lr-(?P<length>\d+)(?P<unit>[ek]))?(-(?P<source>paper|mmseg))?_'
    r'(?P<data>in1k|in-(c|a|r|sketch|v2|real)|inat1[789]|places(205|365)|omni|any'
    r'|in-s(50|300|919)|ade20k|coco|digit-scenes'
    r'|crops|(digits|fashion)(-(c|lt|\d+to\d+))?)'
    r'(-(?P<size>\d+))?(-(?P<percent>\d+)pct)?(-(?P<images>\d+)img)?'
)
_SIZES = {'fashion': 28}  # of the images, where it is not 224
_SEGMENTERS = ('upernet', 'seg-linear')
_DATA = {  # of dense tasks
    'segment': ('in-s50', 'in-s300', 'in-s919', 'ade20k', 'digit-scenes', 'any'),
    'detect': ('coco', 'digit-scenes', 'any'),
}

_Task = Literal['pretrain', 'classify', 'segment', 'detect']


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
            'probe' of frozen features; 'upernet', 'seg-linear', 'mask-rcnn-fpn',
            'mask-rcnn-vitdet' or 'mask-rcnn-single-scale', the last three perhaps behind
            'cascade-', of dense tasks; None is pre-training.
        variant: of a classifier 'half' or 'last4' of the blocks fine-tuned, or 'grid' of learning
            rates; of dense tasks 'scratch', 'frozen', or 'sup', which starts from an encoder
            fine-tuned on labels.
        gpus: devices.
        batch: images a device.
        amp: whether in mixed precision.
        schedule: 'cos', 'poly' or 'step'; None where nothing is trained.
        epochs: None where nothing is trained, or for a number of steps.
        steps: None where nothing is trained, or for a number of epochs.
        source: 'paper' with the paper's values where the authors' repository has others, 'mmseg'
            with those of mmsegmentation; None otherwise.
        data: 'in1k', 'in-a', 'inat17', 'ade20k', 'digits' and so on.
        size: side of the images in pixels; 28 of fashion and 224 of all others unless named.
        percent: share of the labels, 100 unless named.
        images: number of labelled images, None for all.
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
    schedule: str | None
    epochs: int | None
    steps: int | None
    source: str | None
    data: str
    size: int
    percent: int
    images: int | None

    @property
    def task(self) -> _Task:
        """What the model is for; 'pretrain' also where a pre-trained one is probed."""
        if self.job is None or self.job in ('knn', 'probe'):
            return 'pretrain'
        return _task_of(self.job)

    @property
    def is_trained(self) -> bool:
        """Whether a run trains weights, and does not only test them."""
        return self.job not in ('knn', 'probe', 'test')

    @property
    def has_head(self) -> bool:
        """Whether the model is a classifier."""
        return self.task == 'classify'

    @property
    def is_dense(self) -> bool:
        """Whether the model segments or detects."""
        return self.task in _DATA

    @property
    def paper(self) -> bool:
        """Whether with the paper's values where the authors' repository has others."""
        return self.source == 'paper'

    @property
    def trainable_blocks(self) -> float | None:
        """What `model.trainable_blocks` keeps the promise."""
        if self.job == 'linear' or self.variant == 'frozen':
            return 0
        if self.variant == 'half':
            return 0.5
        last = (self.variant or '').removeprefix('last')
        return int(last) if last.isdigit() else None


def parse_name(stem: str) -> Promise | None:
    """The promise of a config's name, or None if it is not of that grammar."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    part = match.groupdict()
    length = int(part['length'] or 0)
    promise = Promise(
        algorithm=bool(part['algorithm']),
        arch=part['arch'],
        patch=int(part['patch']),
        ablation=part['ablation'],
        job=part['job'],
        variant=part['variant'],
        gpus=int(part['gpus']),
        batch=int(part['batch']),
        amp=bool(part['amp']),
        schedule=part['schedule'],
        epochs=length if part['unit'] == 'e' else None,
        steps=1000 * length if part['unit'] == 'k' else None,
        source=part['source'],
        data=part['data'],
        size=int(part['size'] or _SIZES.get(part['data'].partition('-')[0], 224)),
        percent=int(part['percent'] or 100),
        images=int(part['images']) if part['images'] else None,
    )
    return promise if _is_meant(promise) else None


def _task_of(job: str) -> _Task:
    if job in _SEGMENTERS:
        return 'segment'
    return 'detect' if 'mask-rcnn' in job else 'classify'


def _is_meant(promise: Promise) -> bool:
    """Whether job, variant, source and data go together."""
    variant = promise.variant or ''
    if promise.is_dense:
        return promise.data in _DATA[promise.task] and variant in ('', 'scratch', 'frozen', 'sup')
    is_dense = variant in ('scratch', 'frozen', 'sup') or promise.source == 'mmseg'
    dense_data = {data for some in _DATA.values() for data in some if data != 'any'}
    return not is_dense and (promise.job is None or promise.data not in dense_data)
