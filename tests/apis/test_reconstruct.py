"""Pictures from a model, tensors or files."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.apis import init_model
from mae.apis.images import read_images
from mae.apis.reconstruct import draw_reconstructions, reconstruct
from mae.utils.errors import ConfigError, DataError

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'visualization' / 'reconstruct.py'


@pytest.fixture(scope='module')
def config():
    from mae.apis import load_config
    from mae.config import shipped_configs

    path = next(p for p in shipped_configs() if p.match('demo/mae_vit-mini-p4_1xb*digits*.py'))
    arch = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}
    return load_config(
        path,
        {
            'model.encoder.arch': arch,
            'model.encoder.img_size': (8, 12),
            'model.encoder.patch_size': 4,
        },
    )


@pytest.fixture(scope='module')
def model(config):
    return init_model(config)


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 1, 8, 12), dtype=torch.uint8)


def test_original_is_the_image_and_noise_chooses_the_patches(model, images):
    noise = torch.tensor([[0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]])  # of 6 patches one is kept
    panels = reconstruct(model, images, noise)
    for panel, image in zip(panels, images, strict=True):
        np.testing.assert_array_equal(panel.original, image[0])
    first, last = (panel.masked for panel in panels)
    np.testing.assert_array_equal(first[:4, :4], images[0, 0, :4, :4])
    np.testing.assert_array_equal(last[4:, 8:], images[1, 0, 4:, 8:])
    for masked in (first, last):
        assert (masked == 128).sum() >= 5 * 16


def test_predictions_are_the_models(model, images):
    noise = torch.arange(6.0).expand(2, -1)
    with torch.inference_mode():
        inputs = (images.float() - 78) / 96
        pred = model.reconstruct(inputs, noise)['pred']
    panels = reconstruct(model, images, noise)
    second_patch = (pred[1, 0].view(4, 4) * 96 + 78).round().clamp(0, 255)
    np.testing.assert_array_equal(panels[1].reconstruction[:4, 4:8], second_patch)


def test_without_noise_the_result_is_always_the_same(model, images):
    once, again = reconstruct(model, images), reconstruct(model, images)
    for a, b in zip(once, again, strict=True):
        for first, second in zip(a.pictures, b.pictures, strict=True):
            np.testing.assert_array_equal(first, second)


def test_normalised_patches_use_their_own_statistics(config, images):
    config = type(config)(config.to_dict())
    config.model.target.norm_pix = True
    model = init_model(config)
    with torch.inference_mode():
        for parameter in model.decoder.pred.parameters():
            parameter.zero_()  # predicts the mean of every patch
    panel = reconstruct(model, images, torch.arange(6.0).expand(2, -1))[0]
    mean = images[0, 0, :4, 4:8].float().mean().round()
    assert np.all(np.abs(panel.reconstruction[:4, 4:8].astype(float) - float(mean)) <= 1)
    assert 'the model predicts neither' in panel.note
    noise = torch.arange(6.0).expand(2, -1)  # the first patch is the visible one
    panel = reconstruct(model, images, noise, patch_stats='visible')[0]
    mean = images[0, 0, :4, :4].float().mean().round()
    assert np.all(np.abs(panel.reconstruction[4:, 8:].astype(float) - float(mean)) <= 1)


def test_files_of_any_shape_and_colour(model, tmp_path):
    paths = [tmp_path / 'wide.png', tmp_path / 'high.jpg']
    Image.new('RGB', (50, 20), (255, 0, 0)).save(paths[0])
    Image.new('L', (9, 40), 200).save(paths[1])
    panels = reconstruct(model, paths)
    assert [panel.original.shape for panel in panels] == [(8, 12), (8, 12)]
    assert np.all(panels[0].original == 76)  # the grey of red
    assert np.all(np.abs(panels[1].original.astype(int) - 200) <= 2)


def test_files_are_cut_in_the_middle(tmp_path):
    pixels = np.zeros((8, 40), dtype=np.uint8)
    pixels[:, 14:26] = np.arange(12) * 20
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    images = read_images([tmp_path / 'a.png'], channels=1, size=(8, 12))
    np.testing.assert_array_equal(images[0, 0], pixels[:, 14:26])


def test_missing_file_is_named(model, tmp_path):
    with pytest.raises(DataError, match=r'gone\.png'):
        reconstruct(model, [tmp_path / 'gone.png'])


def test_no_images(model):
    with pytest.raises(ValueError, match='no images'):
        reconstruct(model, [])


def test_float_images_are_refused(model):
    with pytest.raises(ValueError, match=r'must be uint8 or uint16, not torch\.float32'):
        reconstruct(model, torch.zeros(1, 1, 8, 12))


def test_filtered_pixels_use_the_statistics_of_the_filtered_patch(config, images):
    config = type(config)(config.to_dict())
    config.model.target = dict(type='LowFrequencyTarget', norm_pix=True, cutoff=0.15)
    model = init_model(config)
    with torch.inference_mode():
        for parameter in model.decoder.pred.parameters():
            parameter.zero_()  # predicts the mean of every patch
    panel = reconstruct(model, images, torch.arange(6.0).expand(2, -1))[0]
    inputs = (images.float() - 78) / 96
    mean = (model.target.low_pass(inputs)[0, 0, :4, 4:8].mean() * 96 + 78).round().clamp(0, 255)
    assert np.all(np.abs(panel.reconstruction[:4, 4:8].astype(float) - float(mean)) <= 1)
    assert abs(float(mean) - float(images[0, 0, :4, 4:8].float().mean())) > 2


def test_a_target_without_pixels_has_no_picture(config, images):
    config = type(config)(config.to_dict())
    config.model.target = dict(type='HOGTarget', cell_size=2)
    model = init_model(config)
    with pytest.raises(ValueError, match=r'^a HOGTarget has no pixels to show: model.reconstruct'):
        reconstruct(model, images)
    out = model.reconstruct((images.float() - 78) / 96)
    assert out['pred'].shape == out['target'].shape == (2, 5, 36)
    assert out['loss'] > 0


def test_one_path(model, tmp_path):
    Image.new('L', (12, 8), 40).save(tmp_path / 'image.png')
    for path in (tmp_path / 'image.png', str(tmp_path / 'image.png')):
        (panel,) = reconstruct(model, path)
        assert (panel.original == 40).all()


def test_a_folder(model, tmp_path, monkeypatch):
    for name, level in (('b/2.png', 60), ('1.png', 40), ('.hidden.png', 9)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('L', (12, 8), level).save(tmp_path / name)
    (tmp_path / 'labels.txt').write_text('not an image')
    panels = reconstruct(model, tmp_path)
    assert sorted(panel.original.max() for panel in panels) == [40, 60]
    assert len(reconstruct(model, [tmp_path / '1.png', tmp_path])) == 3
    assert draw_reconstructions(model, str(tmp_path)).height > 0
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty'):
        reconstruct(model, tmp_path / 'empty')
    monkeypatch.setattr('mae.apis.images.MOST_IN_PICTURE', 1)
    with pytest.raises(DataError, match='holds 2 images, too many for one picture: give at'):
        reconstruct(model, tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda images: images[0], r'^inputs must be .* \(B, C, H, W\), not \(1, 8, 12\)'),
        (lambda images: images[..., :8], r'\(1, 8, 12\), .*\(1, 8, 8\); .*encoder'),
        (
            lambda images: images.expand(2, 3, 8, 12),
            r'\(1, 8, 12\), .*\(3, 8, 12\); .*encoder',
        ),
        (lambda images: images.numpy(), r'^images must .*uint8.* ndarray$'),
        (lambda images: list(images), r'^images must .*uint8.* Tensor$'),
        (lambda images: images[:0], r'^[^\n]*no images[^\n]*$'),
    ],
)
def test_images_of_another_kind(model, images, change, message):
    with pytest.raises(ValueError, match=message):
        reconstruct(model, change(images))


def test_noise_of_another_shape(model, images):
    for noise in (torch.rand(2, 7), torch.rand(1, 6)):
        message = rf'^noise must be .* \(2, 6\), not \({len(noise)}, {noise.shape[1]}\)$'
        with pytest.raises(ValueError, match=message):
            reconstruct(model, images, noise)


def test_classifier_does_not_reconstruct(images):
    with pytest.raises(ValueError, match='Linear does not reconstruct'):
        reconstruct(torch.nn.Linear(1, 1), images)


def test_statistics_that_there_are_not(model, images):
    for norm_pix in (True, False):
        model.target.norm_pix = norm_pix
        with pytest.raises(ValueError, match=r"^patch_stats must .*'true' .*'visible', .*'of'$"):
            reconstruct(model, images, patch_stats='of')


def test_one_picture_of_all(model, images):
    noise = torch.arange(6.0).expand(2, -1)
    picture = draw_reconstructions(model, images, noise)
    # 12 and 8 pixels enlarged 12 times, three pictures in a row.
    assert picture.size == (3 * 144 + 4 * 8, 2 * 96 + 3 * 8)
    last = reconstruct(model, images, noise)[1].reconstruction
    assert picture.getpixel((2 * 144 + 3 * 8, 96 + 2 * 8))[0] == last[0, 0]


def test_tool_writes_a_row_for_each_image(config, model, tmp_path):
    main = runpy.run_path(str(TOOL))['main']
    config.dump(tmp_path / 'config.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')
    paths = [tmp_path / f'{index}.png' for index in range(2)]
    for index, path in enumerate(paths):
        Image.new('L', (12, 8), 40 * index).save(path)
    out = tmp_path / 'new' / 'picture.png'
    files = [tmp_path / 'config.py', tmp_path / 'weights.pth', *paths]
    main([*map(str, files), '--out', str(out)])
    with Image.open(out) as picture:
        # 12 and 8 pixels enlarged 12 times, three pictures in a row.
        assert picture.size == (3 * 144 + 4 * 8, 2 * 96 + 3 * 8)
        assert picture.getpixel((20, 20)) == (0, 0, 0)
        assert picture.getpixel((20, 96 + 2 * 8 + 20)) == (40, 40, 40)


@pytest.mark.parametrize('patch_stats', ['true', 'visible'])
def test_tool_says_what_is_not_predicted(config, tmp_path, capsys, patch_stats):
    main = runpy.run_path(str(TOOL))['main']
    config = type(config)(config.to_dict())
    config.model.target.norm_pix = True
    config.dump(tmp_path / 'config.py')
    torch.save({'state_dict': init_model(config).state_dict()}, tmp_path / 'weights.pth')
    Image.new('L', (12, 8), 40).save(tmp_path / 'a.png')
    out = tmp_path / 'picture.png'
    files = [tmp_path / 'config.py', tmp_path / 'weights.pth', tmp_path / 'a.png']
    main([*map(str, files), '--out', str(out), '--patch-stats', patch_stats])
    words = {'true': 'of the true one', 'visible': 'of the visible ones'}
    assert words[patch_stats] in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.height > 96 + 2 * 8  # the note lies below the row


def test_tool_writes_png_only(capsys):
    parse = runpy.run_path(str(TOOL))['parse_args']
    with pytest.raises(SystemExit) as end:
        parse(['config', 'weights', 'image.png', '--out', 'picture.jpg'])
    assert end.value.code == 2
    assert '--out must end in .png, not picture.jpg' in capsys.readouterr().err


def test_tool_looks_at_the_place_of_its_picture_first(tmp_path):
    parse = runpy.run_path(str(TOOL))['parse_args']
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'file').touch()
    for out, message in (
        (tmp_path / 'folder.png', 'is a folder: give the name of a file'),
        (tmp_path / 'file/a.png', 'file is no folder'),
    ):
        with pytest.raises(ConfigError, match=message):
            parse(['config', 'weights', 'image.png', '--out', str(out)])
