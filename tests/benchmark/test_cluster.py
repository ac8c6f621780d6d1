"""Plans of clusters: what is counted, what is sent and held, and what is chosen."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mae.apis import load_config
from mae.benchmark.cluster.layouts import (
    ParallelLayout,
    Transfer,
    estimate_memory,
    estimate_saving,
    estimate_step,
    estimate_traffic,
    micro_batches,
)
from mae.benchmark.cluster.machines import GPUS, Assumptions, Cluster, parse_link
from mae.benchmark.cluster.plan import (
    PlannedRun,
    compare_layouts,
    plan_cluster,
    recommend,
    show_plan,
)
from mae.benchmark.cluster.workload import Linear, StepWork, Workload, measure_workload
from mae.benchmark.count import fake_step
from mae.benchmark.memory import kept_bytes
from mae.benchmark.settings import Settings
from mae.utils.errors import ConfigError
from tests.benchmark.conftest import FINETUNE, PRETRAIN, SMALL, SMALL_DECODER
from tests.forked import forked
from tools.analysis import plan_cluster as tool

ROOT = Path(__file__).parents[2]
BASE = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
ASSUMED = Assumptions()
COUNTED = {**SMALL, **SMALL_DECODER, 'model.decoder.depth': 2}
FLASH = {f'model.{part}.attention_backend': 'flash' for part in ('encoder', 'decoder')}


def line(each, fixed=0.0):
    return Linear(fixed, each)


def work(scale=1.0, kept=40e6):
    return StepWork(line(55e9 * scale), line(2.5e9), line(1e8), line(3e8), line(kept), 1200)


# Of the order of ViT-B; not its figures.
WORKLOAD = Workload(
    parameters=100_000_000,
    trained=99_000_000,
    buffers=1000,
    blocks=(5_000_000,) * 18,
    update_traffic=28 * 99e6,
    works={'nothing': work(), 'cheap': work(kept=30e6), 'blocks': work(4 / 3, kept=6e6)},
)


def cluster(nodes=1, gpus=8, gpu='h100', link=50e9):
    return Cluster(nodes, gpus, GPUS[gpu], link)


def run_of(batch=4096, most=512):
    return PlannedRun('mae_any', batch, most, 100, 1_281_167, has_decoder=True)


@forked
def test_activations_are_what_autograd_keeps():
    """Counted without values, and with them, at a batch that was not counted."""
    config = load_config(PRETRAIN, {**COUNTED, **FLASH})
    workload = measure_workload(config)
    for recompute, found in workload.works.items():
        options = {f'model.{part}.recompute': recompute for part in ('encoder', 'decoder')}
        config = load_config(PRETRAIN, {**COUNTED, **FLASH, **options})
        dtype = torch.bfloat16 if config.optim_wrapper.amp else torch.float32
        model, forward = fake_step(Settings(config, 7, torch.device('cpu'), dtype))
        kept = kept_bytes(forward, (*model.parameters(), *model.buffers()))
        assert found.kept(7) == pytest.approx(kept, rel=1e-3), recompute
    works = list(workload.works.values())
    assert works[0].kept.each > works[1].kept.each > works[2].kept.each
    assert works[0].products.each == works[1].products.each < works[2].products.each
    assert works[0].attention.each > 0
    assert 0 < workload.trained < workload.parameters  # positions are not trained
    assert workload.state == 4 * workload.parameters + 8 * workload.trained + workload.buffers


def in_own_network(command):
    """Run a command where the loopback is nobody else's."""
    inner = f'ip link set lo up && exec {command}'
    return subprocess.run(
        ['unshare', '-Urn', 'sh', '-c', inner],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_bytes_sent_and_held_are_those_planned():
    """DDP of two processes and FSDP2 of four, with gloo on a network that is counted."""
    if in_own_network('true').returncode:
        pytest.skip('no network namespace for an ordinary user here')
    cases = [('ddp', 2), ('fsdp', 4)]
    words = ' '.join(f'{parallel}:{world}' for parallel, world in cases)
    done = in_own_network(f'{sys.executable} -m tests.benchmark.cluster_step {words}')
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    ddp = found[0]
    workload = replace(
        WORKLOAD,
        parameters=ddp['weights'] // 4,
        trained=ddp['gradients'] // 4,
        buffers=0,
        blocks=((ddp['weights'] - ddp['root']) // 4,),
    )
    for (parallel, world), figures in zip(cases, found, strict=True):
        layout = ParallelLayout(parallel, 'nothing', 4, 1)
        traffic = estimate_traffic(workload, layout, cluster(gpus=world), ASSUMED)
        sent = traffic.sent(1) + traffic.scatter.sent  # gloo scatters as it reduces: twice
        # Beyond it go the headers of the network, and shares of unequal size, filled up.
        assert world * sent <= figures['sent'] <= 1.02 * world * sent
        memory = estimate_memory(workload, layout, cluster(gpus=world))
        for name in ('weights', 'gradients', 'optimizer'):
            # What has one row, as positions, is whole in the process that is asked.
            assert getattr(memory, name) == pytest.approx(figures[name], rel=0.015)
    assert ddp['buckets'] == ddp['gradients']
    held = [figures['weights'] + figures['optimizer'] for figures in found]
    assert held[1] <= 1.1 * held[0] / 4


def test_a_sharded_state_is_that_of_all_gpus_divided():
    for parallel, nodes, shards in (('fsdp', 2, 16), ('hsdp', 2, 8), ('fsdp', 1, 8)):
        here = cluster(nodes)
        whole = estimate_memory(WORKLOAD, ParallelLayout('ddp', 'nothing', 4, 1), here)
        part = estimate_memory(WORKLOAD, ParallelLayout(parallel, 'nothing', 4, 1), here)
        for name in ('gradients', 'optimizer'):
            assert shards * getattr(part, name) == pytest.approx(getattr(whole, name))
        assert part.gathered > 0 == whole.gathered


def test_gradients_stay_whole_while_micro_batches_add_up():
    one, two = (
        estimate_memory(WORKLOAD, ParallelLayout('fsdp', 'nothing', 4, n), cluster())
        for n in (1, 2)
    )
    assert two.gathered - one.gathered == 4 * WORKLOAD.trained


def test_bytes_sent_by_layout():
    """All-reduce: two passes; FSDP: two gathers of weights and one scatter of gradients."""
    gradients = 4 * WORKLOAD.trained
    weights = 4 * (WORKLOAD.parameters + sum(WORKLOAD.blocks))  # whole twice, but for the root

    def sent(parallel, nodes, micro=1):
        layout = ParallelLayout(parallel, 'nothing', 4, micro)
        return estimate_traffic(WORKLOAD, layout, cluster(nodes), ASSUMED).sent(micro)

    assert sent('ddp', 2) == pytest.approx(2 * 15 / 16 * gradients)
    assert sent('ddp', 2, micro=8) == sent('ddp', 2)
    assert sent('fsdp', 2) == pytest.approx(15 / 16 * (weights + gradients))
    assert sent('fsdp', 2, micro=3) == pytest.approx(15 / 16 * (3 * weights + gradients))
    in_node = 7 / 8 * (weights + gradients)
    assert sent('hsdp', 4) == pytest.approx(in_node + 2 * 3 / 4 * gradients / 8)
    assert estimate_traffic(
        WORKLOAD, ParallelLayout('ddp', 'nothing', 4, 1), cluster(gpus=1), ASSUMED
    ) == estimate_traffic(
        WORKLOAD, ParallelLayout('ddp', 'nothing', 9, 1), cluster(gpus=1), ASSUMED
    )


def test_what_computation_hides():
    transfer = Transfer(sent=1.0, seconds=1.0, calls=4)
    assert transfer.exposed(0.0) == 1.0
    assert transfer.exposed(0.5) == 1.0 - 0.5 * 3 / 4
    assert transfer.exposed(9.0) == 0.25  # the last call has nothing beside it
    assert Transfer(0.0, 0.0, 0).exposed(1.0) == 0.0


@pytest.mark.parametrize('parallel', ['ddp', 'fsdp', 'hsdp'])
def test_a_step_is_never_shorter_than_its_parts(parallel):
    for nodes in (2, 16, 64):
        for micro in (1, 4):
            layout = ParallelLayout(parallel, 'blocks', 8, micro)
            step = estimate_step(WORKLOAD, layout, cluster(nodes), ASSUMED)
            assert 0 <= step.exposed <= step.communication
            assert step.total >= max(step.device, step.host, step.communication / 2)


def test_a_slower_network_costs_time_and_a_faster_one_none():
    layout = ParallelLayout('ddp', 'nothing', 128, 1)
    slow, fast, faster = (
        estimate_step(WORKLOAD, layout, cluster(4, link=link), ASSUMED).total
        for link in (1e9, 450e9, 900e9)
    )
    assert slow > 5 * fast
    assert fast == faster  # than NVLink, by which the ring leaves the node


@pytest.mark.parametrize('nodes', [1, 8, 64])
def test_the_interval_loses_least(nodes):
    layout, here = ParallelLayout('ddp', 'nothing', 8, 1), cluster(nodes)
    assumed = replace(ASSUMED, disk=100e9)
    saving = estimate_saving(WORKLOAD, layout, here, assumed)

    def kept(interval):
        at_failure = interval / 2 + saving.write + assumed.restart
        return 1 - saving.stall / interval - at_failure / saving.mtbf

    assert saving.goodput == pytest.approx(kept(saving.interval))
    assert saving.goodput > max(kept(1.2 * saving.interval), kept(saving.interval / 1.2))
    assert saving.mtbf * nodes == assumed.node_mtbf * 3600


def test_failures_may_leave_nothing():
    assumed = replace(ASSUMED, node_mtbf=0.01)
    saving = estimate_saving(WORKLOAD, ParallelLayout('ddp', 'nothing', 8, 1), cluster(8), assumed)
    assert saving.goodput == 0.0
    report = plan_cluster(run_of(), WORKLOAD, cluster(8), assumed)
    assert report['recommended']['days'] is None


def test_plain_data_parallelism_is_recommended_where_it_fits():
    candidates = compare_layouts(run_of(), WORKLOAD, cluster(4), ASSUMED)
    assert {c.layout.parallel for c in candidates} == {'ddp', 'fsdp', 'hsdp'}
    chosen = recommend(candidates)
    assert chosen.layout == ParallelLayout('ddp', 'nothing', 128, 1)
    assert all(c.layout.batch_per_device * c.layout.micro_steps == 128 for c in candidates)
    report = plan_cluster(run_of(), WORKLOAD, cluster(4), ASSUMED)
    assert report['recommended']['train'].endswith('dist_train.sh mae_any 8 --batch-per-device 128')


@pytest.mark.parametrize(('link', 'named'), [(400e9, True), (2e9, False)])
def test_sharding_is_named_where_it_is_faster(link, named):
    """Each GPU updates its share alone, which counts where little else takes time."""
    report = plan_cluster(run_of(), WORKLOAD, cluster(32, link=link), ASSUMED)
    show_plan(report, console := Console(width=200, file=io.StringIO()))
    text = console.file.getvalue()
    assert report['recommended']['layout']['parallel'] == 'ddp'
    assert ('would be' in text) == named
    assert report['recommended']['train'] in text


def test_sharding_is_recommended_where_nothing_else_fits():
    large = replace(WORKLOAD, parameters=10**10, trained=10**10, blocks=(5 * 10**8,) * 20)
    candidates = compare_layouts(run_of(), large, cluster(4), ASSUMED)
    chosen = recommend(candidates)
    assert chosen.layout.parallel in ('fsdp', 'hsdp')
    assert not any(c.fits for c in candidates if c.layout.parallel == 'ddp')
    huge = replace(large, parameters=10**12, trained=10**12)
    with pytest.raises(ConfigError, match=r'nothing fits: .* a GPU with fsdp'):
        recommend(compare_layouts(run_of(), huge, cluster(4), ASSUMED))


def test_memory_limits_the_micro_batch():
    wide = replace(WORKLOAD, works=dict.fromkeys(WORKLOAD.works, work(kept=1e9)))
    chosen = recommend(compare_layouts(run_of(), wide, cluster(), ASSUMED))
    assert chosen.layout == ParallelLayout('ddp', 'nothing', 64, 8)


def test_too_few_cores_bound_the_run():
    free, bound = (
        recommend(compare_layouts(run_of(), WORKLOAD, cluster(2), ASSUMED, cores))
        for cores in (None, 10)
    )
    assert bound.bound == 'loader'
    assert bound.images_per_second == 10 * 2 * ASSUMED.images_per_core < free.images_per_second
    assert bound.cores_per_node == free.cores_per_node > 10


def test_micro_batches_divide_the_share():
    assert micro_batches(12, 8) == [6, 4, 3, 2, 1]
    assert micro_batches(8, 512) == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ('text', 'speed'),
    [('400Gb', 50e9), ('8x400Gb', 400e9), ('50GB', 50e9), ('100Gb/s', 12.5e9), ('1.6Tbps', 2e11)],
)
def test_speeds_of_links(text, speed):
    assert parse_link(text) == pytest.approx(speed)


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ([BASE, '--nodes', '2', '--link', '400'], '--link 400: give the speed'),
        ([BASE, '--nodes', '2', '--link', '0Gb'], '--link 0Gb: give the speed'),
        ([BASE, '--link=-4Gb'], '--link -4Gb: give the speed'),
        ([BASE, '--nodes', '2'], '2 nodes need --link, such as 400Gb'),
        ([BASE, '--gpu', 'h10'], r'--gpu h10: known are .*; did you mean h100\?'),
        (
            [BASE, '--nodes', '3', '--link', '400Gb'],
            r'24 GPUs \(3 x 8\) cannot share global_batch_size=4096 evenly; --nodes 2 or 4 would',
        ),
        ([BASE, '--gpus', '7'], 'take fewer --gpus'),
        ([BASE, '--nodes', '1024', '--link', '400Gb'], 'evenly; --nodes 512 would'),
        (['vit-mini-p4_knn-1xb360_digits-16'], 'describes no training'),
        (['vit-base-p16_upernet-8xb2-polylr-160k_ade20k-512'], 'trains a Segmenter; planned are'),
        (['vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k'], 'trains with LARS; planned is AdamW'),
        ([PRETRAIN, '--gpus', '2'], 'say with --images how many an epoch has'),
    ],
)
def test_bad_input_is_told_before_anything_is_counted(argv, message):
    with pytest.raises(ConfigError, match=message) as error:
        tool.main(argv)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'options',
    [['--nodes', '0'], ['--gpus', '-1'], ['--mtbf', '0'], ['--mtbf', 'nan'], ['--cores', '0']],
)
def test_numbers_out_of_range(options, capsys):
    with pytest.raises(SystemExit) as end:
        tool.main([BASE, *options])
    assert end.value.code == 2
    assert f'{options[0]} must be' in capsys.readouterr().err.splitlines()[-1]


@forked
def test_the_tool_plans_a_config(tmp_path, capsys):
    file = tmp_path / 'plan.json'
    options = [f'{key}={value}' for key, value in SMALL.items()]
    size = ['--nodes', '2', '--gpus', '4', '--link', '25GB', '--images', '1437']
    tool.main([FINETUNE, *size, '--mtbf', '100', '--json', str(file), '--cfg-options', *options])
    shown = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert 'estimated; no figure of a GPU here has been measured' in shown
    assert report['recommended']['train'] in shown
    assert report['assumed']['node_mtbf'] == 100.0
    assert len(report['candidates']) == 9
    assert report['recommended']['layout']['batch_per_device'] == 16
