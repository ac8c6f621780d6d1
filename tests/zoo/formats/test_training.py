"""What checkpoints state about the weights that their run started from, and cards of it."""

import pytest

from mae.apis import convert, get_model, publish
from mae.fault_tolerance.checkpoint import save_checkpoint
from mae.zoo.formats import load_weights
from mae.zoo.formats.training import start_of, start_rows, stored_training, training_of

MAE = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
CLASSIFIER = 'vit-mini-p4_ft-1xb128-coslr-40e_digits-16'
DIGEST = 'a1' * 32
START = {'file': 'epoch_170.pth', 'weights_sha256': DIGEST, 'pretraining': 'MAE'}


@pytest.fixture
def saved(tmp_path):
    """saved(config, file, **meta) writes a model with random weights as a run would."""

    def write(config, file='model.pth', **meta):
        weights = get_model(config).state_dict()
        save_checkpoint({'state_dict': weights, 'meta': meta}, tmp_path / file)
        return tmp_path / file

    return write


def start(path):
    return start_of(load_weights(path), path)


def test_the_pretraining_is_what_the_checkpoint_says(saved, tmp_path):
    assert start(saved(MAE))['pretraining'] == 'MAE'
    assert start(saved(CLASSIFIER))['pretraining'] == ''
    assert start(saved(CLASSIFIER, started_from=None))['pretraining'] == ''
    assert start(saved(CLASSIFIER, started_from=START))['pretraining'] == 'MAE'
    # As the authors have published it: the encoder alone, of which the index knows.
    assert start(saved(CLASSIFIER, 'mae_pretrain_vit_base.pth'))['pretraining'] == 'MAE'
    done = convert(
        saved(MAE), tmp_path / 'encoder.safetensors', 'mae', config=MAE, encoder_only=True
    )
    assert start(done.out)['pretraining'] == 'MAE'


def test_the_digest_is_of_the_weights_in_whatever_file(saved, tmp_path):
    path = saved(MAE)
    other = convert(path, tmp_path / 'fair.pth', 'fair', config=MAE).out
    assert start(path)['weights_sha256'] == start(other)['weights_sha256']
    assert start(path)['file'] == 'model.pth'


@pytest.mark.parametrize(
    ('meta', 'rows'),
    [
        ({}, []),
        ({'started_from': {}}, []),
        ({'started_from': None}, ['random weights']),
        ({'started_from': START}, ['epoch_170.pth', DIGEST, 'MAE']),
        ({'started_from': {**START, 'pretraining': ''}}, ['epoch_170.pth', DIGEST]),
        ({'started_from': {'file': '<b>x</b>', 'pretraining': ['MAE'], 'weights_sha256': '|'}}, []),
        ({'started_from': 'epoch_170.pth'}, []),
    ],
)
def test_rows_show_what_is_stated(meta, rows):
    assert list(start_rows(meta).values()) == rows


def test_cards_state_the_start(saved, tmp_path):
    tuned = saved(CLASSIFIER, step=10, started_from=START)
    convert(tuned, tmp_path / 'folder', 'timm', config=CLASSIFIER)
    card = (tmp_path / 'folder/README.md').read_text()
    assert ', trained from the weights of a masked autoencoder (He et al. 2022), in' in card
    assert '- masked-autoencoder\n' in card
    published = publish(tuned, tmp_path, 'tuned', license_='MIT').card.read_text()
    for text in (card, published):
        assert '| started from | epoch_170.pth |' in text
        assert f'| SHA-256 of those weights | {DIGEST} |' in text
        assert '| pre-training of those weights | MAE |' in text
    convert(saved(CLASSIFIER), tmp_path / 'other', 'timm', config=CLASSIFIER)
    assert 'started from' not in (tmp_path / 'other/README.md').read_text()


def test_a_second_conversion_keeps_the_start():
    first = training_of({'started_from': START})
    second = stored_training(first.stored())
    assert second.rows == first.rows != {}
    assert second.pretraining == 'MAE'
    random = training_of({'started_from': None})
    assert stored_training(random.stored()).rows == {'started from': 'random weights'}
