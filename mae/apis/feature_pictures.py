"""Pictures of the features of images: which are alike, and all of them in a plane.

Shapes: M images, Q queries, k neighbours, D width.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mae.apis.features import FeatureExtractor, Features
from mae.apis.images import NamedImage, Picture, Pictures, name_images
from mae.apis.token_pictures import feature_extractor, need_library
from mae.evaluation.checks import is_count
from mae.evaluation.knn import unit
from mae.utils.errors import ConfigError, DataError, NonFiniteError
from mae.visualization.captions import caption_of
from mae.visualization.figures import Drawing
from mae.visualization.panels import as_pixels
from mae.visualization.scatter import scatter_chart
from mae.visualization.sheets import Cell, picture_sheet

Method = Literal['tsne', 'umap']
OnePerImage = Literal['avg', 'cls']
_TITLES = {'tsne': 't-SNE', 'umap': 'UMAP'}
_FEWEST = 4  # images that a plane is worth
_PERPLEXITY = 30.0  # of t-SNE: scikit-learn's
_NEIGHBOURS = 15  # of UMAP: its own
_LAST_SEED = 2**32 - 1  # that both take


def draw_neighbours(
    model: Any,
    images: Pictures,
    queries: Pictures | None = None,
    *,
    k: int = 5,
    num_queries: int = 6,
    pool: OnePerImage = 'avg',
) -> Image.Image:
    """Images beside those most like them: a row for each query, the nearest first.

    Below each stands the cosine of its features with the query's. No image is its own neighbour.

    Args:
        model: as of `draw_attention`.
        images: where neighbours are looked for, see `mae.apis.images.name_images`.
        queries: images to find neighbours of; None takes some of `images`, evenly spaced.
        k: neighbours shown of each, at most M - 1.
        num_queries: how many of `images` are queries, if none are given.
        pool: 'avg' of the patch tokens, or the 'cls' token.

    Raises:
        DataError: no image can be read, or there is one alone.
        NonFiniteError: features are NaN or infinite.
        ValueError: another `pool`, a number that is no count, or images of neither 1 nor 3
            channels.
    """
    if not is_count(k) or not is_count(num_queries):
        raise ValueError(
            f'k and num_queries must be whole numbers from 1 on, not {k!r}, {num_queries!r}'
        )
    extract = _extractor(model, pool)
    bank = dict(name_images(images))
    found = _finite(extract(list(bank.values())))
    place = {name: number for number, name in enumerate(found.names)}
    asked, wanted = bank, found
    if queries is None:
        chosen = _spread(len(found.names), num_queries)
        wanted = Features([found.names[n] for n in chosen], found.features[chosen])
    else:
        asked = dict(name_images(queries))
        wanted = _finite(extract(list(asked.values())))
    # Images in memory have numbers for names, which say nothing about those of another list.
    own = [
        place.get(n, -1) if asked is bank or isinstance(asked[n], str) else -1 for n in wanted.names
    ]
    cosines, order = nearest_images(wanted.features, found.features, k, own)
    rows = []
    for name, near, others in zip(wanted.names, cosines.tolist(), order.tolist(), strict=True):
        row = [_cell(extract, asked[name], caption_of(name))]
        for cosine, other in zip(near, (found.names[n] for n in others), strict=True):
            row.append(_cell(extract, bank[other], f'{cosine:.3f} {caption_of(other)}'))
        rows.append(row)
    titles = ['image', *(f'neighbour {number + 1}' for number in range(order.shape[1]))]
    return picture_sheet(rows, titles, note='cosine of the features')


def nearest_images(
    queries: Tensor, bank: Tensor, k: int, own: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The k images of a bank most like each query, by the cosine of their features.

    Args:
        queries: (Q, D).
        bank: (M, D).
        k: at most as many as there are others.
        own: of each query its number in the bank, which is left out, or -1.

    Returns:
        Cosines and numbers, (Q, k) or fewer columns, the nearest first.

    Raises:
        DataError: the bank is one image alone.
    """
    if len(bank) < 2:
        raise DataError('neighbours need at least two images: give a folder of more')
    cosines = unit(queries) @ unit(bank).T  # Q,M
    for query, number in enumerate(own):
        if number >= 0:
            cosines[query, number] = -torch.inf
    found = cosines.topk(min(k, len(bank) - 1), dim=1)
    return found.values, found.indices


def draw_features(
    model: Any,
    images: Pictures,
    *,
    method: Method = 'tsne',
    pool: OnePerImage = 'avg',
    max_images: int = 5000,
    seed: int = 0,
) -> Drawing:
    """Features of images in a plane, near where they are alike; coloured by folder.

    Images whose folders differ are coloured by the folder that each lies in, as class folders are.

    Args:
        model: as of `draw_attention`.
        images: see `mae.apis.images.name_images`.
        method: 'tsne' is scikit-learn's t-SNE, 'umap' is UMAP, which needs `umap-learn`.
        pool: 'avg' of the patch tokens, or the 'cls' token.
        max_images: of more, as many are drawn at random, and stderr says so.
        seed: integer from 0 on, from which the draw of images and the method start.

    Raises:
        DataError: fewer than four images can be read, or their features are all the same.
        ImportError: scikit-learn, or `umap-learn`, is not installed.
        NonFiniteError: features are NaN or infinite.
        ValueError: another method or `pool`, `max_images` is no count, or a seed that is none.
    """
    _check_method(method)
    if not is_count(max_images):
        raise ValueError(f'max_images must be a whole number from 1 on, not {max_images!r}')
    if not isinstance(seed, int) or not 0 <= seed <= _LAST_SEED:
        raise ValueError(f'seed must be a whole number from 0 to {_LAST_SEED}, not {seed!r}')
    named, note = _sampled(list(name_images(images)), max_images, seed)
    found = _finite(_extractor(model, pool)([picture for _, picture in named]))
    points = features_in_plane(found.features, method, seed)
    folders = [Path(name).parent.name for name in found.names]
    classes = sorted(set(folders))
    labels = [classes.index(folder) for folder in folders] if len(classes) > 1 else []
    title = f'{_TITLES[method]} of the features of {len(points)} images'
    names = ['/'.join(Path(name).parts[-2:]) for name in found.names]  # of any machine
    svg = scatter_chart(
        points, names, title=title, labels=labels, classes=classes if labels else ()
    )
    return Drawing(title, svg, note)


def features_in_plane(
    features: Tensor, method: Method = 'tsne', seed: int = 0
) -> NDArray[np.float64]:
    """Features (M, D) as points (M, 2), near where they are alike; the same for the same seed.

    t-SNE has a perplexity of 30, or a third of what few images have neighbours; it starts from
    their first two principal components.

    Raises:
        DataError: fewer than four images, or features that are all the same.
        ImportError: scikit-learn, or `umap-learn`, is not installed.
        ValueError: another method.
    """
    _check_method(method)
    M = len(features)
    if M < _FEWEST:
        raise DataError(f'{_TITLES[method]} needs at least {_FEWEST} images, not {M}')
    if (features == features[0]).all():  # scikit-learn would divide by zero, and crash
        raise DataError(f'the features of all {M} images are the same: no plane shows them apart')
    rows = features.double().numpy()
    if method == 'tsne':
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (M - 1) / 3)
        found = TSNE(2, perplexity=perplexity, init='pca', random_state=seed).fit_transform(rows)
    else:
        found = _umap()(
            n_neighbors=min(_NEIGHBOURS, M - 1), random_state=seed, n_jobs=1
        ).fit_transform(rows)
    return np.asarray(found, np.float64)


def _umap() -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(f'UMAP is not there ({error}): pip install umap-learn') from error
    return UMAP


def _extractor(model: Any, pool: str) -> FeatureExtractor:
    """Of one vector an image."""
    if pool not in get_args(OnePerImage):
        raise ConfigError(f"pool must be 'avg' or 'cls', not {pool!r}")
    return feature_extractor(model, pool=pool)


def _finite(found: Features) -> Features:
    if not found.features.isfinite().all():
        raise NonFiniteError('the features are NaN or infinite: the weights are broken')
    return found


def _check_method(method: str) -> None:
    if method not in _TITLES:
        raise ConfigError(f"method must be 'tsne' or 'umap', not {method!r}")
    if method == 'umap':
        _umap()
    else:
        need_library('sklearn', 'scikit-learn', _TITLES[method])


def _sampled(named: list[NamedImage], most: int, seed: int) -> tuple[list[NamedImage], str]:
    """At most so many, in their order, and a line that says so, which is printed too."""
    if len(named) <= most:
        return named, ''
    chosen = np.random.default_rng(seed).choice(len(named), most, replace=False)
    note = f'{most} of {len(named)} images, drawn at random with seed {seed}'
    print(note, file=sys.stderr)
    return [named[number] for number in sorted(chosen.tolist())], note


def _spread(number: int, count: int) -> list[int]:
    """Numbers below `number`, evenly spaced from the first on; all where there are fewer."""
    count = min(number, count)
    return [place * number // count for place in range(count)]


def _cell(extract: FeatureExtractor, picture: Picture, caption: str) -> Cell:
    return Cell(as_pixels(extract.read(picture)), caption)
