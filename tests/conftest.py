"""Fixtures for all tests: a real model, a stand-in one, pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from nox_runtime.model import Model, ModelFacts
from nox_runtime.removal import StarRemover

# A loaded machine is no fault of the code: examples may take as long as they need.
settings.register_profile("nox", deadline=None)
settings.load_profile("nox")

SHARED = Path(__file__).resolve().parents[2] / "shared"

FACTS = ModelFacts(
    name="stand-in", version="1.0", channels=3, layout="NCHW", value_range=(0.0, 1.0),
    multiple=32, receptive_field=32, stretch="none", training="none", licence="MIT",
    weights_sha256="0" * 64,
)  # fmt: skip


class StandIn(Model):
    """Takes away what stands out of a 15 px box mean: local, exact, and fast."""

    def __init__(self, facts: ModelFacts = FACTS) -> None:
        super().__init__(Path("stand-in.onnx"), facts, None, "cpu")
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
        self.seen.append(pictures.shape)
        assert pictures.dtype == np.float32
        assert pictures.min() >= 0
        assert pictures.max() <= 1
        h, w = pictures.shape[2:]
        padded = np.pad(pictures, ((0, 0), (0, 0), (8, 7), (8, 7)), mode="edge").astype("f8")
        sums = padded.cumsum(2).cumsum(3)
        sums = np.pad(sums, ((0, 0), (0, 0), (1, 0), (1, 0)))
        box = sums[:, :, 15:, 15:] - sums[:, :, :-15, 15:]
        box = box - sums[:, :, 15:, :-15] + sums[:, :, :-15, :-15]
        mean = (box / 225)[:, :, :h, :w]
        return pictures - np.maximum(pictures - mean - 0.1, 0).astype(np.float32)


@pytest.fixture
def stand_in() -> StarRemover:
    """A remover around the stand-in model, with small tiles."""
    return StarRemover(StandIn(), tile=128)


@pytest.fixture(scope="session")
def remover() -> StarRemover:
    """The model that nox ships."""
    return StarRemover(device="cpu")


@pytest.fixture(scope="session")
def astro() -> Path:
    """Real astrophotographs beside the checkout; skips where they are missing."""
    folder = SHARED / "data" / "astro"
    if not folder.is_dir():
        pytest.skip(f"no real photographs at {folder}")
    return folder


def starry(height: int = 150, width: int = 170, channels: int = 1, seed: int = 1) -> np.ndarray:
    """A little sky in 0..1 with sharp stars, (C, H, W), float64."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:height, :width]
    sky = 0.2 + 0.05 * np.sin(xx / 40.0) + rng.normal(0, 0.004, (channels, height, width))
    for _ in range(25):
        y, x, a = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.3, 2)
        sky += a * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 3.0)
    return sky.clip(0, 1)
