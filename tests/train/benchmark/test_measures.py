"""Whole scenes through removers whose figures are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from nox_train.benchmark import measures
from nox_train.benchmark.scene import Scene, unit


def test_a_perfect_remover(scene: Scene) -> None:
    found = measures.measure(scene, unit(scene.truth))
    total = measures.summary([found])
    for place in ("overall", "inside", "outside"):
        assert found["psnr"][place] == 100
        assert found["ssim"][place] == pytest.approx(1)
    assert total["completeness"]["above 10 sigma"]["share"] == 1
    assert total["completeness"]["5-10 sigma"]["share"] == 1
    assert found["bias"] == {"outside": 0, "inside": 0}
    assert found["pits"] == 0
    assert found["grain"] == pytest.approx(1)
    assert all(o["kept"] == pytest.approx(1) for o in found["objects"])
    assert found["objects"]
    assert np.abs([v for h in found["halos"] for v in h if v is not None]).max() == 0
    assert total["tint"].get("max", 0) == 0


def test_removing_nothing(scene: Scene) -> None:
    found = measures.measure(scene, scene.picture)
    done = measures.completeness([found])
    assert done["above 10 sigma"] == {"n": done["above 10 sigma"]["n"], "share": 0}
    assert done["above 10 sigma"]["n"] > 5
    assert done["5-10 sigma"]["share"] == 0
    assert done["saturated"]["share"] == 0
    assert found["untouched"] == 1
    assert found["pits"] == 0
    assert found["psnr"]["outside"] > 54  # by the definition of outside
    assert found["psnr"]["inside"] < 30
    assert all(0.98 < o["kept"] < 1.3 for o in found["objects"])
    assert measures.summary([found])["halo"][0]["median"] > 2


def test_a_remover_that_flattens_all_deletes_what_must_stay(scene: Scene) -> None:
    # Take the objects away, and nothing else, in linear light.
    linear = scene.in_light(unit(scene.truth))
    flat = linear.reshape(len(linear), -1).copy()
    np.subtract.at(flat, (slice(None), scene.apertures), scene.light)
    bare = flat.reshape(linear.shape)
    made = bare if scene.linear else scene.curve.forward(bare)
    found = measures.measure(scene, made)
    assert found["objects"]
    # Where two overlap, each aperture loses the other's light as well.
    kept = [row["kept"] for row in found["objects"]]
    assert max(kept) < 0.15
    assert max(kept) < 0.2
    assert measures.summary([found])["kept flux"]["all"]["deleted"] == 1


def test_a_lifted_background_is_a_bias(scene: Scene) -> None:
    truth = scene.display(unit(scene.truth))
    lifted = np.clip(truth + 2 * scene.sigma, 0, 1)
    made = scene.curve.inverse(lifted) if scene.linear else lifted
    found = measures.measure(scene, made)
    assert found["bias"]["outside"] == pytest.approx(2, abs=0.05)
    assert found["untouched"] == 0


def test_smooth_filling_loses_grain_but_counts_as_removal(scene: Scene) -> None:
    truth = scene.display(unit(scene.truth)).astype(np.float64)
    from scipy import ndimage

    smooth = np.stack([ndimage.gaussian_filter(c, 2.0) for c in truth])
    inside = np.abs(scene.display(scene.picture) - truth).max(axis=0) > 0.02
    shown = np.where(inside, smooth, truth)
    made = scene.curve.inverse(shown) if scene.linear else shown
    found = measures.measure(scene, made)
    assert found["grain"] < 0.6
    done = measures.completeness([found])
    assert done["above 10 sigma"]["share"] > 0.9
    assert done["5-10 sigma"]["share"] > 0.9


def test_pits_dug_into_stars_are_counted(colour: Scene) -> None:
    made = unit(colour.truth).copy()
    picked = colour.stars[(colour.stars["snr"] > 30) & colour.stars["counted"]]
    h, w = made.shape[1:]
    yy, xx = np.mgrid[:h, :w]
    dug: list[tuple[float, float]] = []
    for row in picked:
        if all(np.hypot(row["x"] - a, row["y"] - b) > 20 for a, b in dug):
            dug.append((row["x"], row["y"]))
            made[:, np.hypot(xx - row["x"], yy - row["y"]) < 3] *= 0.4
    assert len(dug) >= 3
    assert measures.measure(colour, made)["pits"] == len(dug)


def test_whoever_fills_with_grain_of_their_own_removes_all(scene: Scene) -> None:
    # Nobody can know the grain under a star: other grain of the same strength is right.
    rng = np.random.default_rng(1)
    truth = scene.display(unit(scene.truth)).astype(np.float64)
    inside = np.abs(scene.display(scene.picture) - truth).max(axis=0) > 0.002
    other = truth + inside * rng.normal(0, np.sqrt(len(truth) * 2) * scene.sigma, truth.shape)
    made = scene.curve.inverse(other.clip(0, 1)) if scene.linear else other.clip(0, 1)
    done = measures.completeness([measures.measure(scene, made)])
    assert done["above 10 sigma"]["share"] > 0.99
    assert done["5-10 sigma"]["share"] > 0.97


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (np.zeros((3, 9, 9)), "must keep the shape"),
        (np.full((3, 192, 192), np.nan), "not finite"),
    ],
)
def test_what_is_no_result_is_refused(colour: Scene, made: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measures.measure(colour, made)


def test_bins_hold_every_star_once(colour: Scene, linear: Scene) -> None:
    found = [measures.measure(s, s.picture) for s in (colour, linear)]
    done = measures.completeness(found)
    everything = sum(v >= 3 for f in found for v in f["stars"]["snr"])
    assert sum(b["n"] for b in done["by snr"].values()) == everything
    by_width = done["by fwhm"].values()
    assert sum(b["above 10 sigma"]["n"] for b in by_width) == done["above 10 sigma"]["n"]
    assert set(measures.by(found, "colour")) == {"mono", "RGB"}


def test_spread_leaves_out_what_is_not_there() -> None:
    assert measures.spread([None, 1.0, 3.0])["mean"] == 2
    assert measures.spread([None]) == {"n": 0}
