"""What a layer's metadata tell the run: the sky, the mosaic; and what others keep there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from conftest import StandIn
from napari.components import ViewerModel

from nox_napari.job import Engine, Outcome, Settings, run
from nox_napari.results import build, mark
from nox_napari.session import Session, size_in_words
from nox_runtime.errors import UsageError


def rings(layer: Any, viewer: ViewerModel) -> Any:
    session = Session(viewer)
    session.engine = Engine(models={(None, "auto"): StandIn()})
    *_, outcome = run(session.request(layer, Settings(outputs=("points",))), session.engine)
    assert isinstance(outcome, Outcome)
    (points,) = build(outcome)
    assert mark(points)["role"] == "points"
    return points


def sky() -> WCS:
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval, found.wcs.crpix = [83.8, -5.4], [85.0, 75.0]
    found.wcs.cdelt = [-1e-3, 1e-3]
    return found


def test_rings_know_their_place_in_the_sky(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, metadata={"wcs": sky()})
    points = rings(layer, viewer)
    assert len(points.data) > 10
    there = sky().pixel_to_world(points.data[:, 1], points.data[:, 0])
    # As often as astropy goes there and back.
    np.testing.assert_allclose(points.features["ra"], there.ra.deg, atol=1e-6)
    np.testing.assert_allclose(points.features["dec"], there.dec.deg, atol=1e-6)


@pytest.mark.parametrize("other", ["RA---TAN", {"CRVAL1": 83.8}, 7, None])
def test_a_wcs_of_another_kind_is_left_alone(make_sky: Callable[..., Any], other: Any) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, metadata={"wcs": other})
    points = rings(layer, viewer)
    assert len(points.data) > 10
    assert "ra" not in points.features


@pytest.mark.parametrize("preview", [False, True])
def test_a_raw_mosaic_is_refused_as_the_runtime_does(
    make_sky: Callable[..., Any], preview: bool
) -> None:
    viewer = ViewerModel()
    header = fits.Header([("BAYERPAT", "RGGB")])
    raw = viewer.add_image(make_sky("u2", channels=1), name="raw", metadata={"header": header})
    match = r"raw: raw colour mosaic \(BAYERPAT 'RGGB'\); debayer it first"
    with pytest.raises(UsageError, match=match):
        Session(viewer).request(raw, Settings(), preview=preview)
    assert size_in_words(raw).startswith("raw: raw colour mosaic")
    # Siril leaves the card in pictures that it has debayered.
    done = viewer.add_image(make_sky("u2"), rgb=True, name="rgb", metadata={"header": header})
    assert Session(viewer).request(done, Settings()).picture.name == "rgb"


@pytest.mark.parametrize(
    "header", [fits.Header(), fits.Header([("BAYERPAT", "")]), {}, "h", None, [1], 5]
)
def test_other_headers_say_nothing_of_a_mosaic(make_sky: Callable[..., Any], header: Any) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2", channels=1), metadata={"header": header})
    assert Session(viewer).request(layer, Settings()).picture.metadata["header"] == header
