"""Products of matrices are those of PyTorch, whoever multiplies."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analogdfc.products import affine, multiplied

SIZES = st.integers(1, 6)


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=source).to(dtype)


@given(m=SIZES, k=SIZES, n=SIZES, batch=st.lists(SIZES, max_size=2), seed=st.integers(0, 99))
def test_products_are_sums_over_the_inner_dimension(
    m: int, k: int, n: int, batch: list[int], seed: int
) -> None:
    a, b = drawn(*batch, m, k, seed=seed), drawn(*batch, k, n, seed=seed + 1)
    wanted = torch.einsum("...ij,...jk->...ik", a, b)
    out = torch.empty(*batch, m, n, dtype=torch.float64)
    torch.testing.assert_close(multiplied(a, b), wanted)
    assert multiplied(a, b, out) is out
    torch.testing.assert_close(out, wanted)
    turned = multiplied(b.mT, a.mT)
    torch.testing.assert_close(turned, wanted.mT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_layer_receives_the_sum_over_its_inputs_and_its_bias(dtype: torch.dtype) -> None:
    r, w, b = (drawn(*shape, dtype=dtype) for shape in ((5, 3), (4, 3), (4,)))
    each = drawn(5, 4, dtype=dtype, seed=1)
    wanted = (w.unsqueeze(0) * r.unsqueeze(1)).sum(dim=2)
    torch.testing.assert_close(affine(r, w, b), wanted + b, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(affine(r, w, each), wanted + each, rtol=2e-2, atol=2e-2)
    assert affine(r, w, b).dtype == dtype
    assert affine(r[0], w, b).shape == (4,)


def test_a_layer_writes_where_it_is_asked_to() -> None:
    r, w, b = drawn(5, 3), drawn(4, 3, seed=1), drawn(4, seed=2)
    out = torch.empty(5, 4, dtype=torch.float64)
    assert affine(r, w, b, out) is out
    torch.testing.assert_close(out, r @ w.T + b)


def test_a_gradient_passes_where_one_is_wanted() -> None:
    r, w, b = drawn(5, 3), drawn(4, 3, seed=1).requires_grad_(), drawn(4, seed=2)
    (gradient,) = torch.autograd.grad(affine(r, w, b).sum(), w)
    torch.testing.assert_close(gradient, r.sum(dim=0).expand(4, 3))
    with torch.no_grad():
        assert not affine(r, w, b).requires_grad


def test_what_leaves_the_finite_numbers_is_left_to_others() -> None:
    large = torch.full((2, 2), 1e200, dtype=torch.float64)
    assert torch.isinf(multiplied(large, large)).all()
    assert torch.isnan(multiplied(large, large * torch.tensor([1.0, torch.nan]))[:, 1]).all()


def test_products_of_a_device_are_those_of_the_cpu(device: str) -> None:
    r, w, b = drawn(5, 3), drawn(4, 3, seed=1), drawn(4, seed=2)
    there = [t.to(device) for t in (r, w, b)]
    torch.testing.assert_close(affine(*there).cpu(), affine(r, w, b))
    out = torch.empty(5, 4, dtype=torch.float64, device=device)
    assert multiplied(there[0], there[1].T, out) is out
    torch.testing.assert_close(out.cpu(), r @ w.T)
