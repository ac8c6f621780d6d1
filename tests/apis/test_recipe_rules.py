"""The rules of `mae pretrain` and `mae finetune`: bounds that hold for all data and machines."""

from itertools import product
from pathlib import Path

import pytest

from mae.apis import finetune_rules as tuning
from mae.apis import pretrain_rules as training
from mae.apis import recipe_rules as rules
from mae.apis.finetune_rules import PretrainedSize, finetuning_recipe, require_classes
from mae.apis.pretrain_rules import pretraining_recipe
from mae.apis.recipe_rules import Given, Images, Machine
from mae.utils.errors import ConfigError, DataError

CPU, GPU = Machine(False, 2), Machine(True, 16)
NUMBERS = (16, 17, 63, 199, 1000, 9_999, 10_000, 50_000, 100_000, 1_281_167, 20_000_000)
SIDES = (12, 16, 28, 32, 45, 64, 96, 150, 160, 400, 3000)
NOTHING = Given()


def images(number=200, short_side=500, megapixels=0.5):
    return Images(number, short_side, megapixels)


def recipe(number=200, side=500, machine=CPU, **given):
    return pretraining_recipe(images(number, side), machine, Given(**given))


@pytest.mark.parametrize(('number', 'machine'), [*product(NUMBERS, (CPU, GPU))])
def test_every_choice_lies_within_its_bounds(number, machine):
    for side in SIDES:
        found = recipe(number, side, machine)
        batch = found.batch_size.value
        assert batch & (batch - 1) == 0
        assert number // batch >= min(8, number // 8)
        assert batch % found.per_device == 0
        assert found.img_size.value % found.patch_size.value == 0
        assert 16 <= (found.img_size.value // found.patch_size.value) ** 2 <= 196
        assert found.img_size.value <= 1.4 * side
        assert (5 if machine is CPU else 100) <= found.epochs.value <= 1600
        assert 0 < found.base_lr.value * batch / 256 <= 2.5e-3
        choices = [value for value in vars(found).values() if hasattr(value, 'why')]
        assert all(choice.why for choice in choices)


def test_the_paper_is_a_fixed_point():
    found = recipe(1_281_167, machine=GPU, batch_size=4096)
    assert found.base_lr.value == 1.5e-4
    assert found.arch.value == 'base'
    assert (found.img_size.value, found.patch_size.value) == (224, 16)


def test_200_photographs_take_minutes_on_two_cores():
    found = recipe(200)
    assert 4 <= found.minutes <= 5
    assert recipe(200, machine=Machine(False, 4)).epochs.value > found.epochs.value
    assert recipe(200, machine=Machine(False, 2, None)).epochs.value < found.epochs.value


@pytest.mark.parametrize(
    ('side', 'size', 'patch'),
    [(12, 16, 4), (28, 32, 4), (46, 64, 8), (96, 96, 8), (160, 224, 16), (159, 96, 8)],
)
def test_image_sizes(side, size, patch):
    found = recipe(side=side)
    assert (found.img_size.value, found.patch_size.value) == (size, patch)


@pytest.mark.parametrize(('number', 'arch'), [(9_999, 'tiny'), (10_000, 'small'), (10**5, 'base')])
def test_more_images_take_a_larger_model_on_a_gpu(number, arch):
    assert recipe(number, machine=GPU).arch.value == arch
    assert recipe(number, machine=CPU).arch.value == 'tiny'


def test_what_is_given_is_taken():
    given = {'arch': 'small', 'img_size': 48, 'patch_size': 6, 'epochs': 3, 'batch_size': 7}
    found = recipe(**given)
    assert {name: getattr(found, name).value for name in given} == given
    assert all(getattr(found, name).why.startswith('given') for name in given)


@pytest.mark.parametrize(
    ('given', 'error', 'message'),
    [
        ({'number': 2}, DataError, '^2 images are too few to learn from: give 16 or more'),
        (
            {'side': 3},
            DataError,
            '^half of the images have a shorter side of 3 pixels or less, too ',
        ),
        ({'img_size': 100, 'patch_size': 16}, ConfigError, '^img_size 100 is no .*; 96 is$'),
        ({'img_size': 8, 'patch_size': 16}, ConfigError, '^img_size 8 is less than two patches'),
        ({'img_size': 100_000}, ConfigError, '39,062,500 patches .* too many: give 2048 or less'),
        ({'img_size': 0}, ConfigError, 'must be at least 1$'),
        ({'batch_size': 201}, ConfigError, r'^batch_size must lie in 1\.\.200, '),
        ({'epochs': 0}, ConfigError, '^epochs must be at least 1, not 0$'),
        ({'arch': 'giant'}, ConfigError, '^arch must be one of tiny, small, '),
    ],
)
def test_what_cannot_be(given, error, message):
    with pytest.raises(error, match=message):
        recipe(**given)


def test_fine_tuning():
    weights = PretrainedSize('tiny', 224, 16)
    found = finetuning_recipe(images(160), weights, CPU, NOTHING)
    assert found.img_size.value == 224
    assert found.base_lr.value * found.batch_size.value / 256 == pytest.approx(4e-3 / 8, rel=0.05)
    assert found.mixes.value == (found.epochs.value >= 50)
    larger = finetuning_recipe(images(160), weights, CPU, Given(img_size=448))
    assert larger.epochs.value < found.epochs.value
    with pytest.raises(DataError, match=r'^3 images to train on are too few'):
        finetuning_recipe(images(3), weights, CPU, NOTHING)


@pytest.mark.parametrize(
    ('classes', 'holds_out', 'message'),
    [
        ({'cat': 90}, True, '^photos: one class folder, cat: '),
        ({'a': 1, 'b': 1}, True, '^photos: each class has one image: give 2 or more '),
        ({'a': 1, 'b': 9}, True, '^photos: a has one image or none: give 2 or more .* remove'),
        ({'a': 0, 'b': 9}, False, '^photos: a has one image or none: give 1 or more '),
        ({**dict.fromkeys('abcd', 1), 'e': 9}, True, '^photos: a, b, c and 1 more has '),
    ],
)
def test_classes_that_cannot_be_learned(classes, holds_out, message):
    with pytest.raises(DataError, match=message):
        require_classes('photos', classes, holds_out=holds_out)


def test_classes_that_can():
    require_classes('photos', {'a': 2, 'b': 2}, holds_out=True)
    require_classes('photos', {'a': 1, 'b': 1}, holds_out=False)


def test_the_guide_has_the_numbers_of_the_rules():
    guide = (Path(__file__).parents[2] / 'docs/en/user_guides/own_data.md').read_text()
    decoders = [f'`{name}`: {size[0]}' for name, size in training.DECODERS.items()]
    (_, first), *others = training.ARCH_BY_IMAGES
    arch = ', '.join([f'`{first}`', *(f'from {least:,} images `{name}`' for least, name in others)])
    for text in (
        ', '.join(f'{size}/{patch}' for size, patch in training.SIZES),
        f'at most {training.ENLARGED} times',
        f'on a GPU {arch}',
        *decoders,
        f'leaves an epoch {rules.STEPS_PER_EPOCH} steps: {rules.SMALLEST_BATCH} to '
        f'{rules.LARGEST_BATCH["cpu"]} on a CPU, to {rules.LARGEST_BATCH["gpu"]:,} on a GPU',
        f'what {rules.CPU_SECONDS} seconds are enough for by the estimate below, at least '
        f'{training.EPOCHS["cpu"][0]}; on a GPU {training.GPU_STEPS:,} steps, at least '
        f'{training.EPOCHS["gpu"][0]} epochs; at most {training.EPOCHS["gpu"][1]:,} |',
        f'Fewer than {rules.FEWEST_IMAGES} images are refused',
        f'| 2.4e-3 x (batch / {training.PAPER_BATCH:,}) ** .5 |',
        f'| 4e-3 x (batch / {tuning.PAPER_BATCH:,}) ** .5, layer',
        f'at {tuning.WHOLE_IMAGE} times the cost of pre-training, at least '
        f'{tuning.EPOCHS["cpu"][0]}; on a GPU {tuning.GPU_STEPS:,} steps, at least '
        f'{tuning.EPOCHS["gpu"][0]} epochs; at most {tuning.EPOCHS["gpu"][1]} |',
        f'| from {tuning.MIXED_FROM} epochs on |',
    ):
        assert text in guide
    assert (training.PAPER_LR, tuning.PAPER_LR) == (2.4e-3, 4e-3)
