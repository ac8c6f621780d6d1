import pytest
import torch

from mae.engine.device_prefetcher import DevicePrefetcher


def batch():
    return {'inputs': torch.ones(2, 3, 4, 4, dtype=torch.uint8), 'labels': torch.arange(2)}


def test_nothing_moves_without_a_gpu():
    given = batch()
    assert DevicePrefetcher(torch.device('cpu')).to_device(given) is given


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_images_arrive_whole():
    prefetcher = DevicePrefetcher(torch.device('cuda'))
    for number in range(20):
        given = {'inputs': torch.full((64, 3, 224, 224), number, dtype=torch.uint8).pin_memory()}
        brought = prefetcher.to_device(given)
        assert bool((brought['inputs'] == number).all())


def test_the_current_stream_waits_for_the_copy(monkeypatch):
    """The order of what happens on a GPU, on streams that only take notes."""
    notes = []

    class Stream:
        def __init__(self, device=None):
            self.name = 'own'

        def __enter__(self):
            notes.append('enter own')

        def __exit__(self, *error):
            notes.append('leave own')

        def wait_stream(self, other):
            notes.append(f'{self.name} waits for {other.name}')

    class Images:
        def to(self, device, non_blocking):
            notes.append(f'copy to {device.type}, blocking {not non_blocking}')
            return self

        def record_stream(self, stream):
            notes.append(f'used on {stream.name}')

    current = Stream()
    current.name = 'current'
    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: current)
    given = {'inputs': Images(), 'labels': 5}
    assert DevicePrefetcher(torch.device('cuda')).to_device(given) == given
    assert notes == [
        'enter own',
        'copy to cuda, blocking False',
        'leave own',
        'current waits for own',
        'used on current',
    ]


def test_a_micro_batch_is_copied_when_its_turn_comes(make_runner, monkeypatch):
    """All at once would take the memory of a global batch."""
    changes = {'train_dataloader.batch_size': 8, 'train_cfg.max_epochs': 1}
    changes['param_scheduler.warmup_epochs'] = 0.2
    runner = make_runner(changes=changes)
    notes = []
    step, copy = runner.model.train_step, DevicePrefetcher.to_device
    monkeypatch.setattr(
        DevicePrefetcher, 'to_device', lambda *args: notes.append('copy') or copy(*args)
    )
    monkeypatch.setattr(
        runner.model, 'train_step', lambda *args: notes.append('step') or step(*args)
    )
    runner.train()
    assert notes == ['copy', 'step'] * 4 * 5
