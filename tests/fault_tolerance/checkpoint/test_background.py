import threading

import pytest
import torch

from mae.fault_tolerance.checkpoint.background import SaveError, Snapshot, Writer


class Save:
    """Fails a number of times, after `gate` opens."""

    def __init__(self, failures=0, error=None):
        self.failures = failures
        self.error = error or OSError(28, 'No space left on device')
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0
        self.thread = None

    def __call__(self):
        assert self.gate.wait(20)
        self.calls += 1
        self.thread = threading.current_thread()
        if self.calls <= self.failures:
            raise self.error
        return []


@pytest.fixture
def writer():
    writer = Writer(back_off=(0.001, 0.001))
    yield writer
    writer.finish_previous()


def test_saves_beside_the_training_one_at_a_time(writer):
    first, second = Save(), Save()
    first.gate.clear()
    writer.submit('a', first)
    assert first.calls == 0  # the training has gone on
    waiting = threading.Thread(target=writer.submit, args=('b', second))
    waiting.start()
    assert second.calls == 0
    first.gate.set()
    waiting.join(20)
    writer.wait()
    assert first.calls == second.calls == 1
    assert first.thread is not threading.main_thread()
    assert not writer.messages()


def test_tries_again(writer):
    save = Save(failures=2)
    writer.submit('a', save)
    writer.wait()
    assert save.calls == 3
    assert writer.failure is None
    messages = writer.messages()
    assert [message.split(': ')[0] for message in messages] == [
        'a could not be saved (attempt 1)',
        'a could not be saved (attempt 2)',
    ]
    assert 'No space left on device; ' in messages[0]
    assert not writer.messages()


def test_gives_up_but_goes_on(writer):
    writer.submit('a', Save(failures=9))
    writer.wait()
    assert len(writer.messages()) == 3
    writer.submit('b', Save())
    writer.wait()
    writer.raise_failure()  # nothing: the later one has made up for it
    with pytest.raises(SaveError, match=r'not be saved: .*No space left'):
        writer.run('c', Save(failures=9))


def test_the_best_does_not_make_up_for_the_last(writer):
    writer.submit('a', Save(failures=9))
    writer.finish_previous(give_up=False)
    writer.submit('best', Save(), kind='best')
    writer.wait()
    with pytest.raises(SaveError):
        writer.raise_failure()
    writer.raise_failure()  # told once


def test_a_newer_save_does_not_wait_for_a_better_disk():
    writer = Writer(back_off=(3600.0,))
    first = Save(failures=1)
    writer.submit('a', first)
    writer.finish_previous()
    second = Save()
    writer.submit('b', second)
    writer.wait()
    assert second.calls == 1
    assert writer.failure is None


def test_a_bug_is_no_matter_of_the_disk(writer):
    writer.submit('a', Save(failures=1, error=TypeError('cannot pickle')))
    writer.wait()
    with pytest.raises(TypeError, match='cannot pickle'):
        writer.raise_failure()


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def test_a_snapshot_is_a_true_copy():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = {'m': model.state_dict(), 'o': optimizer.state_dict(), 'n': [1, (2.0, 'x', None)]}
    state['tied'] = state['m']['0.weight']
    state['strided'] = torch.arange(6.0).view(2, 3).t()
    snapshot = Snapshot()
    for _ in range(2):  # the second time into the same buffers
        copy = snapshot.take(state)
        pairs = [*zip(tensors_in(state), tensors_in(copy), strict=True)]
        assert len(pairs) > 10
        for live, copied in pairs:
            assert torch.equal(live, copied)
            assert live.untyped_storage().data_ptr() != copied.untyped_storage().data_ptr()
        assert copy['n'] == state['n']
        assert copy['tied'] is copy['m']['0.weight']
        assert copy['m']._metadata == state['m']._metadata
        assert copy['o']['param_groups'] == state['o']['param_groups']
        kept = [copied.clone() for _, copied in pairs]
        optimizer.step()
        assert all(torch.equal(a, b) for a, (_, b) in zip(kept, pairs, strict=True))
        assert any(not torch.equal(live, copied) for live, copied in pairs)


def test_snapshot_taken_within_a_validation_serves_again_outside():
    snapshot = Snapshot()
    weights = {'w': torch.ones(3, requires_grad=True)}
    with torch.inference_mode():
        assert not snapshot.take(weights)['w'].is_inference()
    weights['w'] = torch.full((3,), 2.0)
    assert torch.equal(snapshot.take(weights)['w'], weights['w'])
