"""A frozen teacher: its features, at our patches, of images as it knows them."""

import copy
import json

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mae.models.targets import FeatureTarget

SMALL = dict(patch_size=8, embed_dim=24, depth=2, num_heads=2)
OURS = dict(
    patch_size=8,
    in_channels=3,
    img_size=(16, 24),
    image_mean=torch.tensor([100.0, 110.0, 120.0]).view(-1, 1, 1),
    image_std=torch.tensor([50.0, 60.0, 70.0]).view(-1, 1, 1),
)
IDS = torch.tensor([[5, 0, 3], [1, 2, 4]])


@pytest.fixture
def levels():
    """Grey levels, float64 for exact comparisons."""
    return torch.randint(0, 256, (2, 3, 16, 24)).double()


def ours_of(levels, facts=OURS):
    return (levels - facts['image_mean']) / facts['image_std']


def timm_file(tmp_path, name='vit_tiny_patch16_224', **options):
    """A timm model with all its weights random, and a file of them."""
    model = timm.create_model(name, num_classes=5, **options).eval()
    for param in model.parameters():
        torch.nn.init.normal_(param, std=0.3)
    path = tmp_path / 'teacher.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return model, str(path)


def vit_file(tmp_path, **options):
    return timm_file(tmp_path, img_size=(16, 24), **SMALL, **options)


def build(path, facts=OURS, **options):
    model = dict(img_size=(16, 24), **SMALL)
    given = {'options': model, **options}
    return FeatureTarget('vit_tiny_patch16_224', path, **given, **facts)


def test_tokens_of_a_timm_model_layer_normalised(tmp_path, ask, levels):
    teacher, path = vit_file(tmp_path)
    target = build(path)
    out = ask(target, ours_of(levels), 8, IDS)
    assert target.target_dim == 24
    with torch.no_grad():  # timm's own normalisation: mean .5, deviation .5
        tokens = teacher.forward_features(((levels / 255 - 0.5) / 0.5).float())[:, 1:]
    for row in range(2):
        for place, number in enumerate(IDS[row].tolist()):
            token = tokens[row, number].double()
            expected = (token - token.mean()) / (token.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(out[row, place], expected, rtol=1e-4, atol=1e-4)
    plain = ask(build(path, norm='none'), ours_of(levels), 8, IDS)
    torch.testing.assert_close(F.layer_norm(plain, (24,)), out, rtol=1e-4, atol=1e-4)


def test_its_mean_and_deviation_may_be_stated(tmp_path, ask, levels):
    teacher, path = vit_file(tmp_path)
    mean, std = [10.0, 20.0, 30.0], [70.0, 80.0, 90.0]
    out = ask(build(path, mean=mean, std=std, norm='none'), ours_of(levels), 8)
    shift, scale = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))
    with torch.no_grad():
        expected = teacher.forward_features(((levels - shift) / scale).float())[:, 1:]
    torch.testing.assert_close(out.float(), expected, rtol=1e-4, atol=1e-4)


def test_another_patch_size_resizes_the_images(tmp_path, ask, levels):
    """Ours are of 8 pixels, the teacher's of 4: for the same grid it sees images half as large."""
    small = {**SMALL, 'patch_size': 4}
    teacher, path = timm_file(tmp_path, img_size=(8, 12), **small)
    target = build(path, options=dict(img_size=(8, 12), **small), norm='none')
    images = ((levels / 255 - 0.5) / 0.5).float()
    half = F.interpolate(images, (8, 12), mode='bicubic', antialias=True)
    with torch.no_grad():
        expected = teacher.forward_features(half)[:, 1:]
    out = ask(target, ours_of(levels), 8)
    torch.testing.assert_close(out.float(), expected, rtol=1e-3, atol=1e-3)


def test_grey_images_for_a_teacher_of_colours(tmp_path, ask, levels):
    _, path = vit_file(tmp_path)
    facts = {**OURS, 'in_channels': 1, 'image_mean': torch.full((1, 1, 1), 99.0)}
    facts['image_std'] = torch.full((1, 1, 1), 66.0)
    grey = levels[:, :1]
    out = ask(build(path, facts), ours_of(grey, facts), 8)
    expected = ask(build(path), ours_of(grey.expand(-1, 3, -1, -1)), 8)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['resnet18', 'swin_tiny_patch4_window7_224'])
def test_feature_maps_lie_on_our_grid(tmp_path, ask, name):
    """One of 32 pixels a feature; channels first here, last there. Grid 7 x 7."""
    torch.manual_seed(1)
    teacher = timm.create_model(name, num_classes=0).eval()
    torch.save(teacher.state_dict(), tmp_path / 'weights.pth')
    facts = {**OURS, 'img_size': (56, 56)}
    target = FeatureTarget(name, str(tmp_path / 'weights.pth'), norm='none', **facts)
    images = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        seen = target._input(images)
        assert seen.shape[-2:] == (224, 224)
        maps = teacher.forward_features(seen)
    out = ask(target, images, 8)
    assert out.shape == (1, 49, target.target_dim)
    for y, x in ((0, 0), (2, 5)):
        expected = maps[0, :, y, x] if name == 'resnet18' else maps[0, y, x]
        torch.testing.assert_close(out[0, 7 * y + x], expected, rtol=1e-4, atol=1e-4)


# --- transformers ---------------------------------------------------------------------------------


def folder_of(tmp_path, kind, known=True, **options):
    import transformers

    torch.manual_seed(2)
    config = getattr(transformers, f'{kind}Config')(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
        patch_size=8, image_size=32, **options,
    )  # fmt: skip
    model = getattr(transformers, f'{kind}Model')(config).eval()
    model.save_pretrained(tmp_path / 'teacher')
    if known:
        values = {'image_mean': [0.5] * 3, 'image_std': [0.25] * 3, 'rescale_factor': 1 / 255}
        (tmp_path / 'teacher' / 'preprocessor_config.json').write_text(json.dumps(values))
    return model, str(tmp_path / 'teacher')


@pytest.mark.parametrize(
    ('processor', 'mean', 'std'),
    [
        ({'image_mean': 0.5, 'image_std': [0.25] * 3}, [127.5] * 3, [63.75] * 3),
        ({'image_mean': [9, 8, 7], 'image_std': 3, 'do_rescale': False}, [9, 8, 7], [3] * 3),
        ({'image_mean': 0.5, 'image_std': 0.5, 'do_normalize': False}, [0] * 3, [255] * 3),
    ],
)
def test_whatever_the_processor_of_a_folder_says(tmp_path, processor, mean, std):
    _, folder = folder_of(tmp_path, 'ViT', known=False)
    (tmp_path / 'teacher' / 'preprocessor_config.json').write_text(json.dumps(processor))
    teacher = FeatureTarget(folder, **OURS).teacher
    assert (teacher.mean, teacher.std) == (pytest.approx(mean), pytest.approx(std))


@pytest.mark.parametrize('text', ['{', '[]', '{"rescale_factor": 0}', '{"image_mean": "x"}'])
def test_a_broken_processor_of_a_folder_is_refused(tmp_path, text):
    _, folder = folder_of(tmp_path, 'ViT', known=False)
    (tmp_path / 'teacher' / 'preprocessor_config.json').write_text(text)
    with pytest.raises(ValueError, match=r'^[^\n]*(preprocessor_config.json|target.mean)[^\n]*$'):
        FeatureTarget(folder, **OURS)


@pytest.mark.parametrize(
    ('kind', 'prefix', 'keywords'),
    [
        ('ViT', 1, {'interpolate_pos_encoding': True}),
        ('Dinov2', 1, {}),
        ('Dinov2WithRegisters', 3, {}),
        ('CLIPVision', 1, {'interpolate_pos_encoding': True}),
    ],
)
def test_tokens_of_a_transformers_model(tmp_path, ask, levels, kind, prefix, keywords):
    registers = {'num_register_tokens': 2} if prefix == 3 else {}
    model, folder = folder_of(tmp_path, kind, **registers)
    target = FeatureTarget(folder, norm='none', **OURS)
    out = ask(target, ours_of(levels), 8)
    images = ((levels / 255 - 0.5) / 0.25).float()
    with torch.no_grad():
        tokens = model(pixel_values=images, **keywords).last_hidden_state[:, prefix:]
    torch.testing.assert_close(out.float(), tokens, rtol=1e-4, atol=1e-4)


def test_a_folder_that_does_not_say_how_images_are_normalised(tmp_path, ask, levels):
    _, folder = folder_of(tmp_path, 'ViT', known=False)
    with pytest.raises(
        ValueError, match=r'^nothing says how [^\n]*target.mean and target.std[^\n]*$'
    ):
        FeatureTarget(folder, **OURS)
    FeatureTarget(folder, mean=[127.5] * 3, std=[63.75] * 3, **OURS)


def test_a_folder_of_no_vit(tmp_path):
    from transformers import ConvNextConfig

    ConvNextConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r'^[^\n]*convnext of transformers is no ViT[^\n]*$'):
        FeatureTarget(str(tmp_path), **OURS)


def test_vitmae_of_transformers_hides_patches(tmp_path):
    _, folder = folder_of(tmp_path, 'ViTMAE')
    with pytest.raises(ValueError, match=r'^[^\n]*hides patches by itself[^\n]*--to timm[^\n]*$'):
        FeatureTarget(folder, **OURS)


def test_a_folder_that_lacks_weights(tmp_path, ask, levels):
    _, folder = folder_of(tmp_path, 'ViT')
    file = tmp_path / 'teacher' / 'model.safetensors'
    weights = load_file(file)
    del weights[next(name for name in weights if 'layernorm_before.weight' in name)]
    save_file(weights, file, {'format': 'pt'})
    with pytest.raises(ValueError, match=r'^[^\n]*lacks weights of its model: [^\n]*layernorm'):
        ask(FeatureTarget(folder, **OURS), ours_of(levels), 8)


# --- frozen, and outside --------------------------------------------------------------------------


def test_a_file_in_half_precision_does_not_decide_how_targets_are_rounded(tmp_path, ask, levels):
    teacher, path = folder_of(tmp_path, 'ViT')
    expected = ask(FeatureTarget(path, **OURS), ours_of(levels), 8)
    teacher.half().save_pretrained(path)
    target = FeatureTarget(path, **OURS)
    torch.testing.assert_close(ask(target, ours_of(levels), 8), expected, rtol=0.02, atol=0.02)
    assert all(p.dtype == torch.float32 for p in target.teacher._model.parameters())
    with torch.autocast('cpu', torch.bfloat16):  # as a run is
        ask(target, ours_of(levels).float(), 8)


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('config.json', '{', r'cannot be read by transformers: [^\n]*$'),
        ('model.safetensors', '{', r'cannot be read by transformers: [^\n]*$'),
        ('model.safetensors', None, r'cannot be read by transformers: [^\n]*$'),
        ('preprocessor_config.json', '{', r'preprocessor_config.json says nothing of use: [^\n]*$'),
    ],
)
def test_a_damaged_folder(tmp_path, ask, levels, file, content, message):
    _, path = folder_of(tmp_path, 'ViT')
    (tmp_path / 'teacher' / file).unlink()
    if content is not None:
        (tmp_path / 'teacher' / file).write_text(content)
    with pytest.raises(ValueError, match=rf'^{path}\W*{message}'):
        ask(FeatureTarget(path, **OURS), ours_of(levels), 8)


def test_code_in_a_folder_is_not_run(tmp_path):
    _, path = folder_of(tmp_path, 'ViT')
    file, ran = tmp_path / 'teacher/config.json', tmp_path / 'ran'
    known = {**json.loads(file.read_text()), 'model_type': 'own'}
    file.write_text(json.dumps({**known, 'auto_map': {'AutoConfig': 'own.Config'}}))
    (tmp_path / 'teacher/own.py').write_text(f'open({str(ran)!r}, "w")\nclass Config: ...\n')
    with pytest.raises(ValueError, match=rf'^{path} cannot be read by transformers: [^\n]*$'):
        FeatureTarget(path, **OURS)
    assert not ran.exists()


def test_the_teacher_is_in_no_state_and_stays_as_it_is(tmp_path, ask, levels):
    _, path = vit_file(tmp_path, drop_path_rate=0.0)
    target = build(path).train()
    first = ask(target, ours_of(levels), 8)
    assert not list(target.parameters())
    assert not target.state_dict()
    model = target.teacher._model
    assert not any(module.training for module in model.modules())
    assert not any(param.requires_grad for param in model.parameters())
    assert torch.equal(ask(target, ours_of(levels).requires_grad_(), 8), first)
    average = copy.deepcopy(target).eval()
    assert average.teacher is target.teacher
    assert torch.equal(ask(average, ours_of(levels), 8), first)


def test_first_asked_for_pictures_then_for_training(tmp_path, ask, levels):
    _, path = vit_file(tmp_path)
    target = build(path)
    with torch.inference_mode():
        ask(target, ours_of(levels), 8)
    assert not any(param.is_inference() for param in target.teacher._model.parameters())


def test_nothing_is_drawn_from_the_generator_of_the_run(tmp_path, ask, levels):
    _, path = vit_file(tmp_path)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    target = build(path)
    ask(target, ours_of(levels), 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_fingerprint_is_of_the_weights(tmp_path):
    model, path = vit_file(tmp_path)
    print_ = build(path).fingerprint()
    assert len(print_) == 64
    other = tmp_path / 'other.safetensors'
    save_file(model.state_dict(), other)
    assert build(str(other)).fingerprint() == print_
    model.blocks[1].norm1.weight.data[3] += 1e-3
    save_file(model.state_dict(), other)
    assert build(str(other)).fingerprint() != print_


def test_on_meta_nothing_is_read(ask):
    with torch.device('meta'):
        facts = {**OURS, 'image_mean': torch.zeros(3, 1, 1), 'image_std': torch.ones(3, 1, 1)}
        target = build('gone.pth', facts)
        out = ask(target, torch.empty(2, 3, 16, 24), 8)
    assert out.shape == (2, 6, 24)
    assert target.teacher._model is None


def test_a_smaller_size_follows_if_the_teacher_can(tmp_path, ask, levels):
    _, path = vit_file(tmp_path)
    with pytest.raises(ValueError, match=r'^[^\n]*takes images of 16x24[^\n]*8x16[^\n]*$'):
        build(path).set_img_size((8, 16))
    target = build(path, options=dict(img_size=(16, 24), dynamic_img_size=True, **SMALL))
    target.set_img_size((8, 16))
    out = ask(target, ours_of(levels)[..., :8, :16], 8)
    assert out.shape == (2, 2, 24)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('teacher', 'options', 'message'),
    [
        ('vit_tiny_patch16_224', {}, 'weights from one place'),
        ('vit_tiny_patch16_224', dict(checkpoint='a.pth', pretrained=True), 'from one place'),
        ('vit_tinny_patch16_224', {}, 'did you mean vit_tiny_patch16_224'),
        ('vit_tiny_patch16_224', dict(checkpoint='a.pth'), 'takes images of 224x224.*16x24 *'),
        (
            'vit_tiny_patch16_224',
            dict(checkpoint='a.pth', options=dict(no_such=1)),
            'target.options of the teacher .*no_such',
        ),
        ('resnet18', dict(checkpoint='a.pth', norm='batch'), "norm must .*'layer' .*'none'"),
        ('resnet18', dict(checkpoint='a.pth', mean=[1.0], std=[1.0]), 'the 3 channels of the'),
    ],
)
def test_mistakes_in_one_line(teacher, options, message):
    facts = {**OURS, 'patch_size': 16, 'img_size': (32, 48)} if 'x224' in message else OURS
    message = message.replace('16x24 *', '32x48')
    with pytest.raises(ValueError, match=message) as error:
        FeatureTarget(teacher, **options, **facts)
    assert '\n' not in str(error.value)


def test_channels_that_do_not_go_together():
    facts = {**OURS, 'in_channels': 5}
    with pytest.raises(ValueError, match=r'^the teacher resnet18 sees 3 channels, and encoder.in_'):
        FeatureTarget('resnet18', 'a.pth', **facts)


def test_files_that_are_no_weights_of_it(tmp_path, ask, levels):
    teacher, _ = vit_file(tmp_path)
    weights = teacher.state_dict()
    images = ours_of(levels)
    cases = {
        'there is no file': None,
        'is not a readable checkpoint': b'nonsense',
        'holds no weights, but a': {'state_dict': {'a': 3}},
        'norm.weight is missing': {n: v for n, v in weights.items() if n != 'norm.weight'},
        'blocks.2.x is unknown': {**weights, 'blocks.2.x': torch.zeros(1)},
        r'pos_embed is \(1, 3, 24\)': {**weights, 'pos_embed': torch.zeros(1, 3, 24)},
    }
    for message, content in cases.items():
        file = tmp_path / 'bad.pth'
        file.unlink(missing_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            torch.save(content, file)
        with pytest.raises(ValueError, match=message) as error:
            ask(build(str(file)), images, 8)
        assert '\n' not in str(error.value)


def test_a_file_that_would_run_code_is_refused(tmp_path, ask, levels):
    class Trap:
        def __reduce__(self):
            return print, ('trapped',)

    torch.save({'state_dict': {'a': Trap()}}, tmp_path / 'trap.pth')
    with pytest.raises(ValueError, match=r'^target.checkpoint: [^\n]*asks to run builtins.print'):
        ask(build(str(tmp_path / 'trap.pth')), ours_of(levels), 8)
