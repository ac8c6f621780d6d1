"""The checks of a device: each finds what it is for, and ends no other."""

import json
import warnings
from collections import Counter

import pytest
import torch

from mae.benchmark.on_device import ceilings, kernels, parity, variants, waits
from mae.benchmark.on_device.checking import CheckedDevice, UnfulfilledError, perform
from mae.benchmark.on_device.profile import kind_of_kernel
from mae.benchmark.on_device.waits import WaitsHook, waits_noted
from mae.models.masking import RandomMasker
from mae.utils.hashing import key_noise

WAIT = 'called a synchronizing CUDA operation (Triggered internally at CUDAFunctions.cpp:156.)'


@pytest.fixture
def place(tmp_path):
    return CheckedDevice(torch.device('cpu'), True, tmp_path)


def test_checks_go_on_after_one_that_fails(tmp_path):
    file = tmp_path / 'checks.json'
    after = []

    def unfulfilled():
        raise UnfulfilledError({'different': 3})

    def broken():
        after.append(json.loads(file.read_text()))
        raise RuntimeError('CUDA error: no kernel image\nand more')

    checks = [('a', unfulfilled), ('b', broken), ('c', lambda: {'tflops': 1.0})]
    assert not perform(checks, file)
    found = json.loads(file.read_text())
    assert after[0]['b'] == {'status': 'not reached'}  # written before it began
    assert [found[name]['status'] for name in 'abc'] == ['failed', 'failed', 'ok']
    assert found['a']['different'] == 3
    assert found['a']['reason'] == 'different 3'
    assert found['b']['reason'] == 'RuntimeError: CUDA error: no kernel image'
    assert found['c']['tflops'] == 1.0
    assert perform([('c', lambda: {})], file)


def test_ceilings_and_kernels(place, tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, '_TIMES', 2)
    assert perform(ceilings.checks(place), tmp_path / 'a.json')
    found = json.loads((tmp_path / 'a.json').read_text())
    assert found['copy']['gigabytes_per_second'] > 0
    assert all(figures['tflops'] > 0 for name, figures in found.items() if name != 'copy')
    assert perform(kernels.checks(place), tmp_path / 'b.json')
    found = json.loads((tmp_path / 'b.json').read_text())
    runs = {name: figures for name, figures in found.items() if figures['runs']}
    assert any(name.startswith('math') for name in runs)
    assert all(figures['same_bits'] for figures in runs.values())
    assert any(not figures['runs'] for figures in found.values())  # cuDNN, on a CPU


def test_parity_holds_on_a_cpu(place, tmp_path):
    checks = [c for c in parity.checks(place) if not c[0].startswith('ViT')]
    assert perform(checks, tmp_path / 'a.json')
    found = json.loads((tmp_path / 'a.json').read_text())
    assert found['mini, float32']['gradient_error'] == 0
    assert 0 < found['mini, bfloat16']['gradient_error'] < 0.1
    assert found['step that is not finite']['kept']


def test_parity_notices_another_mask(place, monkeypatch):
    calls = []

    def score(self, grid_size, keys):
        calls.append(keys)
        return key_noise(keys + (len(calls) % 2), grid_size[0] * grid_size[1])

    monkeypatch.setattr(RandomMasker, 'score', score)
    with pytest.raises(UnfulfilledError, match='different 500'):
        dict(parity.checks(place))['masks of RandomMasker']()


def test_parity_notices_other_gradients(place, monkeypatch):
    computed = parity._loss_and_gradients
    factors = iter((1.0, 1.01))

    def scaled(settings):
        factor = next(factors)
        loss, gradients = computed(settings)
        return loss, {name: factor * x for name, x in gradients.items()}

    monkeypatch.setattr(parity, '_loss_and_gradients', scaled)
    with pytest.raises(UnfulfilledError, match=r'gradient_error 0\.0(1|09)'):
        dict(parity.checks(place))['mini, float32']()


def test_parity_notices_a_step_that_is_taken(place, monkeypatch):
    build = parity.build_optim_wrapper

    def careless(settings, model):
        wrapper = build(settings, model)
        wrapper._skip_nonfinite = wrapper.skips_on_device = False
        return wrapper

    monkeypatch.setattr(parity, 'build_optim_wrapper', careless)
    with pytest.raises(UnfulfilledError, match='kept False, finite_later False'):
        dict(parity.checks(place))['step that is not finite']()


def test_a_variant(place):
    figures = dict(variants.checks(place))['ViT-B, 256, bf16 residual']()
    rate = 4 / figures['milliseconds'] * 1e3
    assert figures['images_per_second'] == pytest.approx(rate)
    assert 'peak_gib' not in figures  # the allocator of a CPU does not count


def test_waits_are_counted_by_the_line_that_led_to_them(tmp_path):
    places = Counter()

    def warn():
        with waits_noted(places, watch=False):
            for message in (WAIT, WAIT, 'other'):
                warnings.warn(message, stacklevel=1)
        return {}

    with pytest.warns(UserWarning, match='other') as seen:
        perform([('check', warn)], tmp_path / 'checks.json')
    assert places.total() == 2
    assert len(places) == 1
    assert len(seen) == 1
    (where,) = places
    assert where.startswith('mae/benchmark/on_device/checking.py:')
    with pytest.warns(UserWarning, match='synchronizing'):
        warnings.warn(WAIT, stacklevel=1)
    assert places.total() == 2


def test_waits_hook_watches_the_steps_between_two():
    hook = WaitsHook(watch=False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for step in range(22):
            hook.before_train_iter(None, step)
            warnings.warn(WAIT, stacklevel=1)
        hook.after_train_epoch(None)
    assert hook.steps == hook.places.total() == 17


def test_waits_of_a_run_on_a_cpu_are_not_known(place):
    figures = dict(waits.checks(place))['fine-tuning']()
    assert figures['steps'] == 17
    assert figures['waits'] is None


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopB_TNT', 'products'),
        ('sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64', 'products'),
        ('cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_7', 'attention'),
        ('void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits>', 'attention'),
        (
            'void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float>',
            'layer norm',
        ),
        ('void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernel', 'layer norm'),
        ('at::native::GeluBackwardCUDAKernelImpl(at::TensorIteratorBase&)', 'GELU'),
        ('void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>', 'AdamW and norms'),
        ('at::native::bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)', 'casts'),
        ('at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)', 'copies'),
        ('void at::native::reduce_kernel<512, 1, at::native::ReduceOp>', 'sums'),
        ('void at::native::vectorized_elementwise_kernel<CUDAFunctor_add<float>>', 'additions'),
        ('triton_per_fused_add_native_layer_norm_3', 'fused kernels'),
        ('what_is_this', 'other'),
    ],
)
def test_kinds_of_kernels(name, kind):
    assert kind_of_kernel(name) == kind
