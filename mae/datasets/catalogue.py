"""Published data sets of transfer, robustness and dense tasks: files, numbers, MD5, terms.

Data alone; `mae.datasets.prepare` compares what is on a disk with it.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClassFolders:
    """A folder with one folder of images for each class.

    Attributes:
        places: where it may be below the root, '' for the root itself; the first that exists is
            taken.
        classes: number of classes.
        images: number of images; several numbers, each accepted, where the authors state several.
        per_class: number of images in every class; None if it varies.
        numbered: whether the folders may be called '0' to 'classes - 1', which as strings have
            another order.
    """

    places: tuple[str, ...]
    classes: int
    images: tuple[int, ...]
    per_class: int | None = None
    numbered: bool = False


@dataclass(frozen=True)
class Annotations:
    """A COCO-style JSON file.

    Attributes:
        file: its name below the root.
        classes: number of categories.
        images: number of images; None where the authors state none.
    """

    file: str
    classes: int
    images: int | None


@dataclass(frozen=True)
class ImageList:
    """The authors' list of images, lines `path label` or `path,label`; we write one from it.

    Attributes:
        name: of the list that we write, below `lists` in the root.
        files: where the authors' list may be, below the root.
        folders: prefixes, relative to the root, that its paths may need; the first with which one
            of the first paths exists is taken.
        classes: number of classes; None where the authors state none.
        images: number of lines; None where the authors state none.
    """

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    classes: int | None
    images: int | None


@dataclass(frozen=True)
class NumberedImages:
    """Images with a number in the file name, `ILSVRC2012_val_00000001.JPEG`, each number once."""

    folder: str
    images: int


@dataclass(frozen=True)
class IDXSplit:
    """A split in IDX files, see `IDXImages`."""

    split: str
    classes: int
    images: int


@dataclass(frozen=True)
class LabelMaps:
    """Folders of label maps, each with its images, see `LabelMapFolder`.

    Attributes:
        folders: of images and of maps, for each split.
        numbers: name of a set of this layout to the number of maps of each split.
        inner: folder that the archive puts them in.
    """

    folders: tuple[tuple[str, str], ...]
    numbers: dict[str, tuple[int, ...]]
    inner: str


@dataclass(frozen=True)
class CocoObjects:
    """An annotation file of COCO and the folder of its images, see `CocoInstances`.

    Attributes:
        file: its name below the root.
        folder: of the images, below the root.
        classes: number of categories.
        images: number of images.
        with_objects: images with an object other than a crowd.
    """

    file: str
    folder: str
    classes: int
    images: int
    with_objects: int


SetPart = (
    ClassFolders | Annotations | ImageList | NumberedImages | IDXSplit | LabelMaps | CocoObjects
)


@dataclass(frozen=True)
class PublishedSet:
    """A data set as its authors published it.

    Attributes:
        title: name and publication.
        home: page that says how to get it.
        terms: of use, in a few words; the page has them in full.
        source: the `source` of a config, as text with {root} for the folder of the set or {folder}
            for its first class folders.
        parts: all are needed.
        variants: parts of which one is enough.
        archives: file to unpack to its MD5; None if no MD5 was published.
    """

    title: str
    home: str
    terms: str
    source: str
    parts: tuple[SetPart, ...] = ()
    variants: tuple[SetPart, ...] = ()
    archives: dict[str, str | None] = field(default_factory=dict)


_IMAGENET_TERMS = 'images of ImageNet: research and education only'

VALIDATION_IMAGES = 50  # of each class of ImageNet

# Archive to its corruptions, in the order of the paper's tables. The archive `extra` has others,
# which are not part of mCE.
CORRUPTION_ARCHIVES = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
}

# Realm to the number of its classes in version 2. Folders and lists of 'plant' are called
# 'vascular_plant'.
REALM_CLASSES = {
    'activity': 693,
    'aircraft': 244,
    'amphibian': 20,
    'aquatic_vertebrate': 54,
    'bird': 656,
    'car': 767,
    'consumer_goods': 303,
    'creation': 124,
    'decoration': 67,
    'device': 248,
    'food': 891,
    'geological_formation': 119,
    'instrumentality': 152,
    'locomotive': 45,
    'mammal': 418,
    'material': 112,
    'military_vehicle': 90,
    'plant': 756,
    'process': 106,
    'region': 256,
    'structure': 500,
}


def _inaturalist(
    year: int, classes: int, train: int, val: int, archive: str, md5: str
) -> PublishedSet:
    return PublishedSet(
        title=f'iNaturalist {year} (Van Horn et al. 2018)',
        home=f'https://github.com/visipedia/inat_comp/tree/master/{year}',
        terms='non-commercial research and education; no redistribution',
        source=f"dict(type='JsonImages', root='{{root}}', annotations='train{year}.json')",
        parts=(
            Annotations(f'train{year}.json', classes, train),
            Annotations(f'val{year}.json', classes, val),
        ),
        archives={archive: md5},
    )


def _corrupted() -> tuple[ClassFolders, ...]:
    return tuple(
        ClassFolders(
            (f'{kind}/{severity}', f'{archive}/{kind}/{severity}'),
            1000,
            (1000 * VALIDATION_IMAGES,),
            VALIDATION_IMAGES,
        )
        for archive, kinds in CORRUPTION_ARCHIVES.items()
        for kind in kinds
        for severity in range(1, 6)
    )


def realm_list(realm: str, split: str, version: str) -> ImageList:
    """A realm's list of OmniBenchmark.

    The README puts `record.txt` of version 1 and the images into `<realm>/<realm>.<split>`; the
    authors' download tool writes `records.txt` and the images into `<realm>/<split>`.
    """
    names = (realm, 'vascular_plant') if realm == 'plant' else (realm,)
    splits = [f'{name}/{part}' for name in names for part in (f'{name}.{split}', split)]
    if version == 'v2':
        listed = [f'{name}/annotations/v2/{split}.txt' for name in names]
        listed += [f'meta_v2/{name}/{split}.txt' for name in names]
    else:
        listed = [f'{folder}/{file}.txt' for folder in splits for file in ('record', 'records')]
    # 'bird/bird.' is that of `train/images/x.jpg` in `bird/bird.train/images`.
    folders = [place for name in names for place in (f'{name}/', f'{name}/{name}.')]
    folders += [f'{folder}/' for folder in splits] + [f'{folder}/images/' for folder in splits]
    name = f'{realm}/{split}.txt' if version == 'v2' else f'{version}/{realm}/{split}.txt'
    classes = REALM_CLASSES[realm] if version == 'v2' else None
    return ImageList(name, tuple(listed), (*folders, ''), classes, None)


def _realms(version: str) -> tuple[ImageList, ...]:
    return tuple(
        realm_list(realm, split, version)
        for realm in REALM_CLASSES
        for split in ('train', 'val', 'test')
    )


_V2 = ('matched-frequency', 'threshold0.7', 'top-images')

CATALOGUE = {
    'inat2017': _inaturalist(
        2017, 5_089, 579_184, 95_986, 'train_val_images.tar.gz', '7c784ea5e424efaec655bd392f87301f'
    ),
    'inat2018': _inaturalist(
        2018, 8_142, 437_513, 24_426, 'train_val2018.tar.gz', 'b1c6952ce38f31868cc50ea72d066cc3'
    ),
    'inat2019': _inaturalist(
        2019, 1_010, 265_213, 3_030, 'train_val2019.tar.gz', 'c60a6e2962c9b8ccbd458d12c8582644'
    ),
    'places205': PublishedSet(
        title='Places205 (Zhou et al. 2014)',
        home='http://places.csail.mit.edu/downloadData.html',
        terms='registration; research and education only',
        source="dict(type='ImageFolder', root='{root}', list_file='lists/train.txt', "
        'classes=[str(i) for i in range(205)])',
        parts=tuple(
            ImageList(
                f'{split}.txt',
                (f'{split}_places205.csv', f'trainvalsplit_places205/{split}_places205.csv'),
                ('images256/', 'data/vision/torralba/deeplearning/images256/', 'images/', ''),
                205,
                count,
            )
            for split, count in (('train', None), ('val', 20_500))
        ),
        archives={'imagesPlaces205_resize.tar.gz': None, 'trainvalsplit_places205.tar.gz': None},
    ),
    'places365': PublishedSet(
        title='Places365-Standard (Zhou et al. 2017)',
        home='http://places2.csail.mit.edu/download.html',
        terms='research and education only',
        source="dict(type='ImageFolder', root='{root}', list_file='lists/train.txt', "
        'classes=[str(i) for i in range(365)])',
        parts=(
            ImageList(
                'train.txt',
                ('places365_train_standard.txt',),
                ('data_256/', 'data_large/', 'data_256_standard/', 'data_large_standard/'),
                365,
                1_803_460,
            ),
            ImageList('val.txt', ('places365_val.txt',), ('val_256/', 'val_large/'), 365, 36_500),
        ),
        archives={
            'filelist_places365-standard.tar': '35a0585fee1fa656440f3ab298f8479c',
            'train_256_places365standard.tar': '53ca1c756c3d1e7809517cc47c5561c5',
            'val_256.tar': 'e27b17d8d44f4af9a78502beb927f808',
            'train_large_places365standard.tar': '67e186b496a84c929568076ed01a8aa1',
            'val_large.tar': '9b71c4993ad89d2d8bcbdc4aef38042f',
        },
    ),
    'imagenet-c': PublishedSet(
        title='ImageNet-C (Hendrycks and Dietterich 2019)',
        home='https://zenodo.org/record/2235448',
        terms=f'{_IMAGENET_TERMS}; CC BY 4.0 for the rest',
        source="dict(type='ImageNetC', root='{root}')",
        parts=_corrupted(),
        archives={
            'noise.tar': 'e80562d7f6c3f8834afb1ecf27252745',
            'blur.tar': '2d8e81fdd8e07fef67b9334fa635e45c',
            'weather.tar': '33ffea4db4d93fe4a428c40a6ce0c25d',
            'digital.tar': '89157860d7b10d5797849337ca2e5c03',
        },
    ),
    'imagenet-a': PublishedSet(
        title='ImageNet-A (Hendrycks et al. 2021)',
        home='https://github.com/hendrycks/natural-adv-examples',
        terms=_IMAGENET_TERMS,
        source="dict(type='ImageFolder', root='{folder}', classes='imagenet')",
        parts=(ClassFolders(('imagenet-a', ''), 200, (7_500,)),),
        archives={'imagenet-a.tar': 'c3e55429088dc681f30d81f4726b6595'},
    ),
    'imagenet-r': PublishedSet(
        title='ImageNet-R (Hendrycks et al. 2021)',
        home='https://github.com/hendrycks/imagenet-r',
        terms='images of the web: research only',
        source="dict(type='ImageFolder', root='{folder}', classes='imagenet')",
        parts=(ClassFolders(('imagenet-r', ''), 200, (30_000,)),),
        archives={'imagenet-r.tar': 'a61312130a589d0ca1a8fca1f2bd3337'},
    ),
    'imagenet-sketch': PublishedSet(
        title='ImageNet-Sketch (Wang et al. 2019)',
        home='https://github.com/HaohanWang/ImageNet-Sketch',
        terms='images of the web: research only',
        source="dict(type='ImageFolder', root='{folder}', classes='imagenet')",
        # The README says 50,000; the archive holds 50,889.
        parts=(ClassFolders(('sketch', ''), 1000, (50_889, 50_000)),),
    ),
    'imagenet-v2': PublishedSet(
        title='ImageNetV2 (Recht et al. 2019)',
        home='https://github.com/modestyachts/ImageNetV2',
        terms='MIT for the code; images of Flickr, each of its owner',
        source="dict(type='ImageFolder', root='{folder}', classes='imagenet-v2')",
        variants=(
            *(
                ClassFolders(
                    (f'imagenetv2-{name}-format-val', name), 1000, (10_000,), 10, numbered=True
                )
                for name in _V2
            ),
            ClassFolders(('',), 1000, (10_000,), 10, numbered=True),
        ),
        archives={f'imagenetv2-{name}.tar.gz': None for name in _V2},
    ),
    'imagenet-real': PublishedSet(
        title='ImageNet ReaL (Beyer et al. 2020): labels of the validation images of ImageNet',
        home='https://github.com/google-research/reassessed-imagenet',
        terms=f'{_IMAGENET_TERMS}; Apache-2.0 for the labels',
        source="dict(type='ImageFolder', root='{root}', split='val', classes='imagenet', "
        'file_numbers=True)',
        parts=(NumberedImages('val', 50_000),),
        archives={'ILSVRC2012_img_val.tar': '29b22e2961454d5413ddabcf34fc5622'},
    ),
    'omnibenchmark': PublishedSet(
        title='OmniBenchmark, version 2 (Zhang et al. 2022)',
        home='https://github.com/ZhangYuanhan-AI/OmniBenchmark',
        terms='CC BY-NC-ND 4.0',
        source="dict(type='OmniBenchmark', root='{root}', split='train')",
        parts=_realms('v2'),
    ),
    'omnibenchmark-v1': PublishedSet(
        title='OmniBenchmark, version 1, that of its paper (Zhang et al. 2022)',
        home='https://github.com/ZhangYuanhan-AI/OmniBenchmark',
        terms='CC BY-NC-ND 4.0',
        source="dict(type='OmniBenchmark', root='{root}', split='train', version='v1')",
        parts=_realms('v1'),
    ),
    'ade20k': PublishedSet(
        title='ADE20K, the SceneParse150 benchmark (Zhou et al. 2017)',
        home='http://sceneparsing.csail.mit.edu',
        terms='non-commercial research and education; BSD-3 for the annotations',
        source="dict(type='LabelMapFolder', root='{root}', images='images/training', "
        "maps='annotations/training')",
        parts=(
            LabelMaps(
                (
                    ('images/training', 'annotations/training'),
                    ('images/validation', 'annotations/validation'),
                ),
                {'ADE20K': (20_210, 2_000)},
                'ADEChallengeData2016',
            ),
        ),
        archives={'ADEChallengeData2016.zip': '7328b3957e407ddae1d3cbf487f149ef'},
    ),
    'imagenet-s': PublishedSet(
        title='ImageNet-S-919, -300 or -50 (Gao et al. 2022)',
        home='https://github.com/LUSSeg/ImageNet-S, whose script takes the images of your ImageNet',
        terms=_IMAGENET_TERMS,
        source="dict(type='LabelMapFolder', root='{root}', images='train-semi', "
        "maps='train-semi-segmentation')",
        parts=(
            LabelMaps(
                (
                    ('train-semi', 'train-semi-segmentation'),
                    ('validation', 'validation-segmentation'),
                ),
                {
                    'ImageNet-S-919': (9_190, 12_419),
                    'ImageNet-S-300': (3_000, 4_097),
                    'ImageNet-S-50': (500, 752),
                },
                'ImageNetS919',
            ),
        ),
        archives={
            f'ImageNetS{number}-{md5}.zip': md5
            for number, md5 in (
                (919, '5f7f58ae1003d21da9409a8576bf7680'),
                (300, 'dd8e42e156bac415a35c3c239de297bf'),
                (50, 'a0fe9d82231f9bc4787ee76e304dfa51'),
            )
        },
    ),
    'coco': PublishedSet(
        title='COCO 2017, objects (Lin et al. 2014)',
        home='https://cocodataset.org/#download',
        terms='CC BY 4.0 for the annotations; the images under the terms of Flickr',
        source="dict(type='CocoInstances', root='{root}/train2017', "
        "annotations='annotations/instances_train2017.json', filter_empty=True)",
        parts=tuple(
            CocoObjects(f'annotations/instances_{folder}.json', folder, 80, images, with_objects)
            for folder, images, with_objects in (
                ('train2017', 118_287, 117_266),
                ('val2017', 5_000, 4_952),
            )
        ),
        archives=dict.fromkeys(('train2017.zip', 'val2017.zip', 'annotations_trainval2017.zip')),
    ),
    'fashion-mnist': PublishedSet(
        title='Fashion-MNIST (Xiao et al. 2017)',
        home='https://github.com/zalandoresearch/fashion-mnist',
        terms='MIT',
        source="dict(type='IDXImages', root='{root}', split='train', classes='fashion-mnist')",
        parts=(IDXSplit('train', 10, 60_000), IDXSplit('test', 10, 10_000)),
    ),
}
