"""Products of matrices by oneDNN: what PyTorch's own linear layer computes, up to rounding."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dnalm.models import matrix_products
from dnalm.models.architecture import load_model

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
sizes = st.integers(1, 40)


@pytest.fixture
def other_cpu(monkeypatch, tmp_path):
    """A CPU with AVX-512 that is not Intel's."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512bw\n")
    monkeypatch.setattr(matrix_products, "CPUINFO", cpuinfo)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)


def both(inputs, outputs, bias):
    """A linear layer and its copy that multiplies by oneDNN."""
    torch.manual_seed(inputs * outputs)
    plain = nn.Linear(inputs, outputs, bias=bias)
    fast = copy.deepcopy(plain)
    fast.__class__ = matrix_products.OneDNNLinear
    return plain, fast


def learned(layer, x):
    """Output of a layer, and the gradients of its sum of squares."""
    x = x.detach().clone().requires_grad_()
    output = layer(x)
    output.square().sum().backward()
    return [output, x.grad, *(parameter.grad for parameter in layer.parameters())]


@needs_onednn
@given(shape=st.lists(st.integers(0, 7), max_size=3), inputs=sizes, outputs=sizes, bias=st.booleans())
def test_outputs_and_gradients_are_those_of_a_linear_layer(shape, inputs, outputs, bias):
    plain, fast = both(inputs, outputs, bias)
    x = torch.randn(*shape, inputs)
    for expected, found in zip(learned(plain, x), learned(fast, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@needs_onednn
def test_rows_that_do_not_lie_together_are_read_right():
    plain, fast = both(24, 16, True)
    x = torch.randn(24, 9, 5).permute(2, 1, 0)
    for expected, found in zip(learned(plain, x), learned(fast, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@needs_onednn
def test_what_is_frozen_gets_no_gradient():
    _, fast = both(8, 4, True)
    fast.weight.requires_grad_(False)
    x = torch.randn(3, 8, requires_grad=True)
    fast(x).sum().backward()
    assert fast.weight.grad is None and fast.bias.grad is not None and x.grad is not None


@needs_onednn
def test_rounding_errors_are_of_the_same_size():
    plain, fast = both(512, 256, True)
    x = torch.randn(300, 512)
    exact = nn.functional.linear(x.double(), plain.weight.double(), plain.bias.double())
    errors = [(layer(x).double() - exact).square().mean().sqrt().item() for layer in (plain, fast)]
    assert errors[1] < 3 * errors[0] < 1e-5


@needs_onednn
def test_other_kinds_of_numbers_are_left_to_pytorch():
    plain, fast = both(8, 4, True)
    x = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert fast(x).dtype == torch.bfloat16
        assert torch.equal(fast(x), plain(x))
    assert torch.equal(fast.double()(x.double()), plain.double()(x.double()))


@needs_onednn
def test_compiled_it_computes_the_same():
    plain, fast = both(12, 20, True)
    compiled = copy.deepcopy(fast)
    compiled.compile(backend="aot_eager", dynamic=True, fullgraph=True)
    for rows in (3, 5):
        x = torch.randn(2, rows, 12)
        for expected, found in zip(learned(plain, x), learned(compiled, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("cpuinfo", "has_mkl", "slow"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx512f", True, True),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx512f", False, False),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2", True, False),
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx2 avx512f", True, False),
        (None, True, False),
    ],
)
@needs_onednn
def test_where_pytorch_is_slow_by_default(monkeypatch, tmp_path, cpuinfo, has_mkl, slow):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(matrix_products, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: has_mkl)
    assert matrix_products.is_slow_by_default() is slow


@needs_onednn
def test_models_multiply_by_onednn_where_that_is_faster_and_are_saved_as_ever(
    other_cpu, monkeypatch, tmp_path, tiny_model
):
    fast = load_model(tiny_model)
    fast.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(matrix_products, "is_slow_by_default", lambda: False)
    plain, again = load_model(tiny_model), load_model(tmp_path / "saved")
    kinds = [{type(module) for module in model.modules()} for model in (fast, plain)]
    assert matrix_products.OneDNNLinear in kinds[0] and nn.Linear not in kinds[0]
    assert matrix_products.OneDNNLinear not in kinds[1] and nn.Linear in kinds[1]
    for name, weights in again.state_dict().items():
        assert torch.equal(weights, plain.state_dict()[name])
    ids = torch.from_numpy(np.random.default_rng(1).integers(5, plain.config.vocab_size, (4, 30)))
    with torch.no_grad():
        found, expected = (model.eval()(input_ids=ids).logits for model in (fast, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
