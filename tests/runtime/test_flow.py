"""What is far below a picture's grain is no star's light."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import StandIn

from nox_runtime.flow import floor_of
from nox_runtime.removal import StarRemover
from nox_runtime.statistics import grain
from nox_runtime.stretch import choose, statistics


def _noisy(grain: float, sky: float = 0.3, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(6)
    return (sky + rng.normal(0, grain, (channels, 300, 320))).astype(np.float32)


@pytest.mark.parametrize("factor", [1.0, 50000.0])
def test_the_floor_is_a_share_of_the_grain_as_it_is_shown(factor: float) -> None:
    stats = statistics(_noisy(0.02) * np.float32(factor))
    flat = choose("none", stats)
    span = flat.white[0] - flat.black[0]
    assert floor_of(flat, stats) == pytest.approx(0.25 * 0.02 * factor / span, rel=0.03)
    assert floor_of(flat, stats) < 0.0179


def test_the_floor_follows_the_stretch() -> None:
    linear = _noisy(2e-4, sky=0.01, channels=3)
    linear[:, :100] += np.linspace(0, 3e-3, 320, dtype=np.float32)  # a nebula: the sky is smoother
    linear[:, 200:] += np.linspace(0, 1e-3, 320, dtype=np.float32)
    stats = statistics(linear)
    used = choose("auto", stats)
    triples = statistics(used.forward(linear)).triples
    assert triples is not None
    assert used.linear
    assert floor_of(used, stats) == pytest.approx(0.25 * np.mean(grain(triples)), rel=1e-4)


def test_the_floor_has_a_ceiling() -> None:
    """Pebbles and crowded fields differ from pixel to pixel, and are no grain."""
    rough = statistics(_noisy(0.1))
    assert floor_of(choose("none", rough), rough) == pytest.approx(0.018)


class _Tracer(StandIn):
    """Takes a fifth of the grain from all the sky, and the stars."""

    def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
        made = pictures - np.float32(0.004)
        return np.where(pictures > 0.9, np.float32(0.3), made)


def test_contract_2_sky_of_which_the_model_takes_a_trace_is_untouched() -> None:
    picture = _noisy(0.02)
    picture[:, 100:103, 200:203] = 0.95
    result = StarRemover(_Tracer(), tile=128).remove(picture[0], stretch="none")
    changed = result.starless != picture[0]
    assert changed[98:105, 198:205].all()
    changed[98:105, 198:205] = False
    assert not changed.any()
    assert not result.mask[~changed & (result.starless == picture[0])].any()
    # Of a picture without grain the same trace is light.
    clean = np.full_like(picture[0], 0.3)
    assert (StarRemover(_Tracer(), tile=128).remove(clean, stretch="none").starless < 0.3).all()
