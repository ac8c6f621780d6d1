"""Neighbours and planes of features, by what they compute."""

import builtins

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from mae.apis import draw_features, draw_neighbours, get_model
from mae.apis.feature_pictures import features_in_plane, nearest_images
from mae.utils.errors import ConfigError, DataError, NonFiniteError

ARCH = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(1)
    return get_model('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', encoder=dict(arch=ARCH))


@pytest.fixture
def folder(tmp_path):
    """Two classes, each of one picture and two that are almost the same."""
    noise = np.random.default_rng(0)
    for name in ('cats', 'dogs'):
        (tmp_path / name).mkdir()
        pixels = noise.integers(0, 250, (16, 16), np.uint8)
        for number in range(3):
            Image.fromarray(pixels + np.uint8(2 * number)).save(tmp_path / name / f'{number}.png')
    return tmp_path


def test_neighbours_are_those_of_sklearn():
    queries, bank = torch.randn(4, 8), torch.randn(30, 8)
    cosines, order = nearest_images(queries, bank, 5, [-1] * 4)
    judge = NearestNeighbors(n_neighbors=5, metric='cosine').fit(bank)
    distances, expected = judge.kneighbors(queries)
    assert order.tolist() == expected.tolist()
    np.testing.assert_allclose(cosines, 1 - distances, rtol=1e-5, atol=1e-6)


def test_no_image_is_its_own_neighbour():
    bank = torch.randn(6, 8)
    cosines, order = nearest_images(bank, bank, 9, range(6))
    assert order.shape == (6, 5)
    assert [set(row) for row in order.tolist()] == [{*range(6)} - {n} for n in range(6)]
    assert cosines.max() < 0.999


def test_rows_of_neighbours(model, folder):
    """A row for each of two queries; its copies are nearest, whether it is of the folder or not."""
    sheet = draw_neighbours(model, folder, k=2, num_queries=2)
    assert sheet.size[0] == 3 * 168 + 8
    cell = [sheet.crop((8 + n * 168, 24, 168 + n * 168, 184)) for n in range(3)]
    pixels = [np.asarray(each, int) for each in cell]
    assert [abs(pixels[0] - other).max() for other in pixels[1:]] == [2, 4]
    one = draw_neighbours(model, folder, folder / 'dogs/1.png', k=1)
    assert one.size[0] == 2 * 168 + 8
    assert one.size[1] < sheet.size[1]


def test_neighbours_of_one_image(model, folder):
    with pytest.raises(DataError, match='neighbours need at least two images'):
        draw_neighbours(model, folder / 'cats/0.png')


def test_a_plane_keeps_clusters_together():
    centres = torch.randn(3, 8) * 20
    labels = torch.arange(60) % 3
    points = features_in_plane(centres[labels] + torch.randn(60, 8))
    assert points.shape == (60, 2)
    _, near = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)
    assert all(labels[a] == labels[b] for a, b in near)


def test_the_plane_is_a_function_of_the_seed():
    features = torch.randn(20, 8)
    assert np.array_equal(features_in_plane(features), features_in_plane(features))


def test_points_and_legend(model, folder):
    drawing = draw_features(model, folder)
    assert drawing.svg.count('<circle') == 6
    assert drawing.svg.count('<rect') == 2
    assert 'cats/0.png: cats</title>' in drawing.svg
    assert drawing.title == 't-SNE of the features of 6 images'
    assert not drawing.note


def test_more_images_are_sampled_and_it_is_said(model, folder, capsys):
    drawing = draw_features(model, folder, max_images=4)
    assert drawing.svg.count('<circle') == 4
    assert drawing.note == '4 of 6 images, drawn at random with seed 0'
    assert drawing.note in capsys.readouterr().err


def test_features_of_one_image(model, folder):
    with pytest.raises(DataError, match=r't-SNE needs at least 4 images, not 1'):
        draw_features(model, folder / 'cats/0.png')


def test_a_method_that_is_none(model, folder):
    with pytest.raises(ConfigError, match="method must be 'tsne' or 'umap', not 'pca'"):
        draw_features(model, folder, method='pca')


def test_all_tokens_are_no_one_vector(model, folder):
    with pytest.raises(ConfigError, match="pool must be 'avg' or 'cls', not 'tokens'"):
        draw_neighbours(model, folder, pool='tokens')


def test_broken_weights(folder):
    broken = get_model('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', encoder=dict(arch=ARCH))
    broken.encoder.norm.bias.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match='the features are NaN or infinite'):
        draw_neighbours(broken, folder)


@pytest.mark.parametrize('seed', [-1, 2**32, None])
def test_a_seed_that_is_none(model, folder, seed):
    with pytest.raises(ValueError, match='seed must be a whole number from 0 to 4294967295'):
        draw_features(model, folder, seed=seed)


@pytest.mark.parametrize('method', ['tsne', 'umap'])
def test_features_that_are_all_the_same(method):
    """Copies of one image: scikit-learn would end the process with a segmentation fault."""
    if method == 'umap':
        pytest.importorskip('umap')
    with pytest.raises(DataError, match='the features of all 5 images are the same'):
        features_in_plane(torch.ones(5, 8), method)


def test_without_umap(model, folder, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == 'umap':
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match='pip install umap-learn'):
        draw_features(model, folder, method='umap')


def test_without_scikit_learn(model, folder, monkeypatch):
    monkeypatch.setattr('mae.apis.token_pictures.find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r't-SNE needs scikit-learn.*: pip install scikit-learn'):
        draw_features(model, folder)
