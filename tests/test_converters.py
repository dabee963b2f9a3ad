"""Converters: the bounds of their rounding, their errors, and their gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import generator, normal

from analogdfc.arrays.converters import ADC, DAC, Converter
from analogdfc.errors import UserError

KINDS = pytest.mark.parametrize("kind", [DAC, ADC])


@KINDS
@given(bits=st.integers(2, 16), limit=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_error_is_at_most_half_a_step_and_the_codes_are_counted(
    kind: type[Converter], bits: int, limit: float, seed: int
) -> None:
    x = (2 * torch.rand(200, dtype=torch.float64, generator=generator(seed)) - 1) * limit
    for signed, codes in ((True, 2**bits - 1), (False, 2**bits)):
        converter = kind(bits=bits, range=limit, signed=signed)
        assert converter.step is not None
        low = -limit if signed else 0.0
        assert converter.step * (codes - 1) == pytest.approx(limit - low)
        given_ = x if signed else x.abs()
        error = converter(given_) - given_
        assert float(error.abs().max()) <= converter.step / 2 * (1 + 1e-9)


@KINDS
def test_rounding_has_no_bias_and_the_variance_of_a_uniform_error(kind: type[Converter]) -> None:
    converter = kind(bits=6, range=1.0)
    assert converter.step is not None
    x = 2 * torch.rand(200_000, dtype=torch.float64, generator=generator(0)) - 1
    error = converter(x) - x
    assert float(error.mean()) == pytest.approx(0, abs=4 * float(error.std()) / 200_000**0.5)
    assert float(error.std()) == pytest.approx(converter.step / 12**0.5, rel=0.01)


@KINDS
def test_zero_is_a_code_and_what_lies_beyond_the_range_is_clipped(kind: type[Converter]) -> None:
    x = torch.tensor([0.0, 5.0, -5.0], dtype=torch.float64)
    torch.testing.assert_close(kind(bits=3, range=2.0)(x), x.clamp(-2, 2))
    torch.testing.assert_close(kind(bits=3, range=2.0, signed=False)(x), x.clamp(0, 2))
    torch.testing.assert_close(kind(range=2.0)(x / 4), x / 4)


@KINDS
def test_a_converter_without_errors_passes_the_signal_unchanged(kind: type[Converter]) -> None:
    x = normal(0, 4, 5)
    assert torch.equal(kind()(x), x)
    assert kind().step is None


def test_errors_come_after_the_rounding_of_a_dac_and_before_that_of_an_adc() -> None:
    x = torch.tensor([0.4], dtype=torch.float64)
    errors: dict[str, Any] = {"gain_error": 0.1, "offset_error": 0.05}
    # Codes at -1, -2/3, ..., 1: 0.4 is rounded to 1/3, and 0.49 to 1/3 too, but 0.51 to 2/3.
    assert float(DAC(bits=3, range=1.0, **errors)(x)) == pytest.approx(1.1 / 3 + 0.05)
    assert float(ADC(bits=3, range=1.0, **errors)(x)) == pytest.approx(1 / 3)
    assert float(ADC(bits=3, range=1.0, gain_error=0.1, offset_error=0.07)(x)) == pytest.approx(
        2 / 3
    )


@KINDS
def test_noise_has_its_spread_and_follows_the_seed(kind: type[Converter]) -> None:
    converter = kind(noise=0.3)
    x = torch.zeros(100_000, dtype=torch.float64)
    out = converter(x, generator(0))
    assert float(out.std()) == pytest.approx(0.3, rel=0.02)
    assert torch.equal(out, converter(x, generator(0)))
    with pytest.raises(UserError, match="a converter draws random numbers; give a"):
        converter(x)


@KINDS
def test_gradient_goes_through_the_rounding_and_ends_at_the_clipping(kind: type[Converter]) -> None:
    x = torch.tensor([0.3, -0.7, 1.5, -1.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kind(bits=4, range=1.0)(x).sum(), x)
    assert slope.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1, "range": 1.0}, "converter of 1 bits; 2 to 32 are allowed with sign"),
        ({"bits": 0, "range": 1.0, "signed": False}, "0 bits; 1 to 32 are allowed without sign"),
        ({"bits": 33, "range": 1.0}, "33 bits; 2 to 32"),
        ({"bits": 8}, "8 bits and no range; give its largest value"),
        ({"range": 0.0}, "range of a converter 0: .* > 0"),
        ({"noise": -0.1}, "noise of a converter -0.1: .* >= 0"),
        ({"gain_error": -1.0}, "gain_error -1: .* > -1"),
        ({"offset_error": float("nan")}, "offset_error nan: must be finite"),
    ],
)
def test_what_makes_no_converter_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DAC(**arguments)
