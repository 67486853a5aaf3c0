import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw_studies.modular_addition.algebra.fourier import num_frequencies, spectrum, weights

MODULI = st.sampled_from([5, 7, 9, 15, 23])


def drawn(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(MODULI, st.integers(0, 6), st.sampled_from([(), (2,), (2, 3)]), st.integers(0, 2**32 - 1))
def test_there_and_back(modulus, width, leading, seed):
    given_weights = drawn(seed, (*leading, 3, modulus, width))
    z = spectrum(given_weights)
    assert z.shape == (*leading, 3, (modulus + 1) // 2, width)
    np.testing.assert_allclose(weights(z, modulus), given_weights, rtol=0, atol=1e-14)
    np.testing.assert_allclose(spectrum(weights(z, modulus)), z, rtol=0, atol=1e-14)


@pytest.mark.parametrize("modulus", [5, 9, 13])
def test_the_form_is_its_definition(modulus):
    """Both directions written out: A = W_a conj(F) / d, C = W_c F / d, and the sum over all residues k."""
    w = drawn(1, (3, modulus, 4))
    characters = np.exp(2j * np.pi * np.outer(np.arange(modulus), np.arange(modulus)) / modulus)  # [x, k]
    signed = (characters.conj(), characters.conj(), characters)
    whole = [basis.T @ table / modulus for basis, table in zip(signed, w, strict=True)]  # [k, j]
    z = spectrum(w)
    for row in range(3):
        np.testing.assert_allclose(z[row], whole[row][: modulus // 2 + 1], rtol=0, atol=1e-15)
        np.testing.assert_allclose(signed[row].conj() @ whole[row], w[row], rtol=0, atol=1e-14)


def test_a_wave_is_one_number():
    residues = np.arange(7)
    wave = 2 * np.cos(2 * np.pi * 3 * residues / 7 + 0.4)
    z = spectrum(np.tile(wave[:, None], (3, 1, 1)))
    expected = np.zeros((3, 4, 1), dtype=complex)
    expected[:, 3, 0] = np.exp([0.4j, 0.4j, -0.4j])
    np.testing.assert_allclose(z, expected, atol=1e-15)


def test_single_precision_is_widened_first():
    w = drawn(2, (3, 7, 4)).astype(np.float32)
    assert spectrum(w).dtype == np.complex128
    np.testing.assert_array_equal(spectrum(w), spectrum(w.astype(np.float64)))


@pytest.mark.parametrize("modulus", [-5, 0, 1, 3, 4, 128])
def test_a_modulus_without_two_conjugate_pairs_is_refused(modulus):
    with pytest.raises(ConfigurationError, match=rf"modulus: got {modulus}, allowed odd numbers >= 5"):
        num_frequencies(modulus)


def test_shapes_are_checked():
    with pytest.raises(ConfigurationError, match="modulus: got 6"):
        spectrum(np.zeros((3, 6, 2)))
    with pytest.raises(UsageError, match=r"weights: got shape \(2, 5, 4\)"):
        spectrum(np.zeros((2, 5, 4)))
    with pytest.raises(UsageError, match=r"allowed \[..., 3, 4, width\] at modulus 7"):
        weights(np.zeros((3, 3, 2), dtype=complex), 7)


def test_weights_that_would_not_be_real_are_refused():
    z = spectrum(drawn(3, (3, 7, 2)))
    z[1, 0, 1] += 0.5j
    with pytest.raises(UsageError, match=r"constant part of 0.5 i"):
        weights(z, 7)
