"""Bad numbers change nothing, are told, and end a run only when nothing else helps."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.engine.hooks import GuardHook
from mae.fault_tolerance.checkpoint import load_checkpoint, save
from mae.fault_tolerance.guard import BadSteps
from mae.fault_tolerance.step_report import Reports, StepReport
from mae.utils.digest import weights_sha256
from mae.utils.errors import NonFiniteError

EMA = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1)
FUSED = {'optim_wrapper.optimizer.fused': True, 'custom_hooks': [EMA]}
OFTEN = {'default_hooks.checkpoint': dict(interval=4, by_epoch=False, max_keep=-1)}
IMPATIENT = {'default_hooks.guard': dict(type='GuardHook', patience=3, margin=1), **OFTEN, **FUSED}


class Spoil(Hook):
    """Makes the loss or one gradient of some steps NaN; on request as on a GPU."""

    def __init__(self, *steps, loss=False, on_device=False):
        self.steps, self.loss, self.on_device, self.seen = steps, loss, on_device, []

    def before_train(self, runner):
        wrapper = runner.optim_wrapper
        if self.on_device:
            wrapper.skips_on_device = True
            runner.train_loop.reports = Reports(lag=2)
        update, head = wrapper.update_params, next(runner.model.parameters())
        spoilt = float(self.loss or 0)
        wrapper.update_params = lambda loss, **options: update(
            loss + spoilt if self.loss and runner.iter in self.steps else loss, **options
        )
        if not self.loss:
            head.register_hook(lambda g: g * torch.inf if runner.iter in self.steps else None)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(runner.iter if outputs else None)


class Losses(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(outputs['loss']) if outputs else None)


class LeaveOut(Hook):
    """Leaves steps out from the start."""

    priority = 'LOWEST'

    def __init__(self, *steps):
        self.steps = steps

    def before_train(self, runner):
        runner.train_loop.left_out = list(self.steps)


class Settle(Hook):
    """What is being saved is on the disk before the next step."""

    def after_step(self, runner):
        for hook in runner.hooks:
            if hasattr(hook, 'wait'):
                hook.wait()


def run(runner, *hooks):
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return fingerprint(runner)


def fingerprint(runner):
    """Hashes of weights, averages and optimizer state."""
    models = [runner.model, *(h.ema_model for h in runner.hooks if hasattr(h, 'ema_model'))]
    state = runner.optim_wrapper.optimizer.state_dict()['state']
    moments = {f'{n}.{key}': v for n, entry in state.items() for key, v in entry.items()}
    hashes = [
        weights_sha256({k: v for k, v in m.state_dict().items() if k != 'steps'}) for m in models
    ]
    return [*hashes, weights_sha256(moments)]


def guard_of(runner):
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, GuardHook)]
    return hook


def log_of(runner):
    (path,) = Path(runner.work_dir).rglob('*.log')
    return path.read_text()


@pytest.mark.parametrize('classify', [False, True])
def test_guarded_or_not_a_good_run_is_the_same(make_runner, classify):
    plain = {'optim_wrapper.skip_nonfinite': False, 'default_hooks.guard': None}
    expected = run(make_runner('plain', {**FUSED, **plain}, classify))
    assert run(make_runner('guarded', FUSED, classify)) == expected
    assert run(make_runner('device', FUSED, classify), Spoil(on_device=True)) == expected


@pytest.fixture(scope='module')
def without_step_6():
    return []


@pytest.mark.parametrize('on_device', [False, True])
@pytest.mark.parametrize('loss', [False, 'nan', 'inf'])
def test_a_bad_step_is_as_if_left_out(make_runner, without_step_6, loss, on_device):
    if not without_step_6:
        without_step_6.extend(run(make_runner('without', FUSED), LeaveOut((6, 7))))
    runner = make_runner('run', FUSED)
    assert run(runner, Spoil(6, loss=loss, on_device=on_device)) == without_step_6
    assert guard_of(runner).count.total == 1
    what = f'loss is {loss}' if loss else 'gradients are not finite'
    assert f'step 6: {what}; skipped (1 in a row, 1 in all)' in log_of(runner)


def test_with_optimizers_of_all_kinds(make_runner):
    """None of them moves, nor what it remembers."""
    for number, options in enumerate(
        [dict(type='AdamW', fused=False), dict(type='SGD', momentum=0.9), dict(type='LARS')]
    ):
        options = {'optim_wrapper.optimizer': {**options, '_delete_': True}}
        expected = run(make_runner(f'without{number}', options), LeaveOut((0, 1), (6, 7)))
        assert run(make_runner(f'run{number}', options), Spoil(0, 6)) == expected


def test_autopsy(make_runner, monkeypatch):
    write = save.save_checkpoint

    def slow(*args):
        time.sleep(0.3)  # the replay begins at a checkpoint that is being written
        return write(*args)

    monkeypatch.setattr(save, 'save_checkpoint', slow)
    runner = make_runner('run', {**OFTEN, **FUSED})
    run(runner, Spoil(6, 7, 11), Settle())
    found = sorted(path.name for path in Path(runner.work_dir).glob('autopsy*'))
    assert found == ['autopsy_step_11.json', 'autopsy_step_6.json']  # the first of each row
    autopsy = json.loads((Path(runner.work_dir) / 'autopsy_step_6.json').read_text())
    assert (autopsy['step'], autopsy['epoch'], autopsy['step_in_epoch']) == (6, 1, 1)
    assert autopsy['lr'] == pytest.approx(0.005, rel=0.05)
    ((process,),) = [autopsy['processes']]
    assert len(process['ids']) == len(process['keys']) == 32
    assert str(process['ids'][0]) in log_of(runner)
    spoilt = next(name for name, _ in runner.model.named_parameters()).rpartition('.')[0]
    bad = [name for name, norm in autopsy['grad_norms'].items() if isinstance(norm, str)]
    assert bad == [spoilt]
    assert len(autopsy['grad_norms']) > 10
    assert f'--resume {runner.work_dir}/iter_4.pth' in autopsy['replay']


@pytest.mark.parametrize('on_device', [False, True])
def test_goes_back_and_leaves_the_row_out(make_runner, on_device):
    expected = run(make_runner('without', {**OFTEN, **FUSED}), LeaveOut((5, 9)))
    runner = make_runner('run', IMPATIENT)
    spoil = Spoil(6, 7, 8, on_device=on_device)
    assert run(runner, spoil) == expected
    assert guard_of(runner).count.left_out == [(5, 9)]  # with a margin of one
    assert guard_of(runner).count.rollbacks == 1
    late = 1 if on_device else 0  # the end of the epoch waits for all reports
    first = list(range(9 + late))
    assert spoil.seen == [*first, 4, *[None] * 4, *range(9, 15)]
    assert re.search(r'steps 6 to 8: .* 3 steps in a row: .*iter_4\.pth, .* 5 to 8', log_of(runner))


def test_what_is_given_up_is_not_logged(make_runner):
    runner = make_runner('run', {**IMPATIENT, 'default_hooks.logger.interval': 100})
    losses = Losses()
    run(runner, Spoil(6, 7, 8), losses)
    (path,) = Path(runner.work_dir).rglob('vis_data/scalars.json')
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row['step'] for row in rows] == [5, 5, 10, 15]  # gone back to step 4
    assert rows[1]['loss'] == pytest.approx(losses.seen[9])  # after steps 0 to 8, 4 again


@pytest.mark.parametrize('step', [8, 12])
def test_resumed_run_goes_back_all_the_same(make_runner, step):
    """From a checkpoint in the row, or from one that knows what was left out."""
    runner = make_runner('run', IMPATIENT)
    expected = run(runner, Spoil(6, 7, 8))
    start = Path(runner.work_dir) / f'iter_{step}.pth'
    meta = load_checkpoint(start)['meta']
    assert meta['bad_steps']['left_out'] == [[5, 9]]
    changes = {**IMPATIENT, 'resume': True, 'load_from': str(start)}
    assert run(make_runner('again', changes), Spoil(6, 7, 8)) == expected


def test_checkpoint_in_a_bad_row_says_so(make_runner):
    changes = {**IMPATIENT, 'default_hooks.guard.patience': 4}
    for on_device in (False, True):
        runner = make_runner(f'run{on_device}', changes)
        run(runner, Spoil(6, 7, on_device=on_device))
        metas = [load_checkpoint(Path(runner.work_dir) / f'iter_{n}.pth')['meta'] for n in (4, 8)]
        assert [meta['bad_steps']['in_row'] for meta in metas] == [0, 2]


def test_a_resume_in_the_row_counts_on(make_runner):
    changes = {**IMPATIENT, 'default_hooks.guard.patience': 4}
    runner = make_runner('run', changes)
    expected = run(runner, Spoil(6, 7, 8, 9))
    assert guard_of(runner).count.rollbacks == 1
    cut = make_runner('run', changes)
    shutdown = Shutdown(at=8)
    with pytest.raises(KeyboardInterrupt):
        run(cut, Spoil(6, 7, 8, 9), shutdown)
    assert run(make_runner('run', {**changes, 'resume': True}), Spoil(6, 7, 8, 9)) == expected


@pytest.mark.parametrize('on_device', [False, True])
def test_a_run_that_was_cut_off_as_it_went_back_goes_back(make_runner, on_device):
    """The last step of the row has a checkpoint, which is the newest for a while."""

    class CutOff(Hook):
        cut = False

        def before_train_epoch(self, runner):
            if self.cut and runner.iter == 4:
                raise KeyboardInterrupt
            self.cut = True

    changes = {**IMPATIENT, 'default_hooks.guard.patience': 2}
    spoiling = dict(on_device=on_device)
    expected = run(make_runner('whole', changes), Spoil(6, 7, **spoiling))
    with pytest.raises(KeyboardInterrupt):
        run(make_runner('run', changes), Spoil(6, 7, **spoiling), CutOff())
    resumed = make_runner('run', {**changes, 'resume': True})
    assert run(resumed, Spoil(6, 7, **spoiling)) == expected
    assert resumed.resumed_from.endswith('iter_4.pth')
    assert guard_of(resumed).count.left_out == [(5, 8)]


class Shutdown(Hook):
    def __init__(self, at):
        self.at = at

    def after_step(self, runner):
        if runner.iter == self.at:
            raise KeyboardInterrupt


def test_gives_up_in_the_end(make_runner):
    runner = make_runner('run', IMPATIENT)
    message = (
        r'^steps 12 to 14: loss or gradients were not finite in 3 steps in a row, after 2 times '
        r'going back; lower base_lr[^\n]*$'
    )
    with pytest.raises(NonFiniteError, match=message):
        run(runner, Spoil(*range(6, 99)))
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    for path in Path(runner.work_dir).glob('*.pth'):
        weights = load_checkpoint(path)['state_dict']
        assert all(value.isfinite().all() for value in weights.values())


def test_nothing_to_go_back_to(make_runner):
    runner = make_runner('run', IMPATIENT)
    with pytest.raises(NonFiniteError, match=r'steps 0 to 2: .*has no sound checkpoint'):
        run(runner, Spoil(*range(99)))


def test_statistics_of_batch_norms_are_put_back(make_runner):
    class Extra(Hook):
        def before_run(self, runner):
            runner.model.extra = torch.nn.BatchNorm1d(1, affine=False)

        def before_train(self, runner):
            update = runner.optim_wrapper.update_params

            def forward_and_update(loss):
                bad = torch.nan if runner.iter == 6 else 1.0
                runner.model.extra(torch.tensor([[runner.iter * bad], [1.0]]))
                update(loss * bad)

            runner.optim_wrapper.update_params = forward_and_update

    runner = make_runner('run')
    run(runner, Extra())
    expected = torch.nn.BatchNorm1d(1, affine=False)
    for step in (*range(6), *range(7, 15)):
        expected(torch.tensor([[float(step)], [1.0]]))
    norm = runner.model.extra
    assert torch.equal(norm.running_mean, expected.running_mean)
    assert torch.equal(norm.running_var, expected.running_var)
    assert norm.num_batches_tracked == 14


# --- counting -------------------------------------------------------------------------------


def report(step, skipped=True, loss=1.0):
    return StepReport(step, skipped, stop=False, loss=loss)


def test_a_scaler_that_searches_is_no_error():
    count = BadSteps()
    assert not any(count.take(report(step), scaled=True) for step in range(30))
    assert (count.scaler_skips, count.total) == (30, 0)
    assert count.take(report(30), scaled=True)  # at a scale that nothing overflows with
    assert not count.take(report(31, skipped=False), scaled=True)
    assert count.take(report(32, loss=torch.nan), scaled=True)
    assert (count.in_row, count.total) == (1, 2)


def test_count_round_trip():
    count = BadSteps()
    for step in (3, 4):
        count.take(report(step), scaled=False)
    count.go_back(2, margin=10)
    assert count.left_out == [(2, 5)]
    assert BadSteps.from_state(json.loads(json.dumps(count.state()))) == count


@pytest.mark.parametrize('options', [dict(patience=0), dict(max_rollbacks=-1), dict(margin=-1)])
def test_numbers_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r'^default_hooks.guard needs [^\n]*$'):
        GuardHook(**options)


def test_until_the_report_only_names_are_kept(make_runner):
    """The images of three steps would take gigabytes."""

    class Look(Hook):
        priority = 'LOWEST'

        def __init__(self):
            self.kept = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            (guard,) = [hook for hook in runner.hooks if isinstance(hook, GuardHook)]
            (batch,) = guard._steps[runner.iter].batches
            assert torch.equal(batch['ids'], data_batch[0]['ids'])
            self.kept.append(set(batch))

    runner = make_runner(changes={'train_cfg.max_epochs': 2})
    look = Look()
    runner.register_hook(look)
    runner.train()
    assert look.kept == [{'ids', 'keys'}] * 10
