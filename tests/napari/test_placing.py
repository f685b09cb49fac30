"""Results on their way into the viewer: what is the user's stays, and nothing jams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import StandIn
from napari.components import ViewerModel

from nox_napari.job import OUTPUTS, Engine, Outcome, Settings, run
from nox_napari.results import build, mark, own_layers, place
from nox_napari.session import Session


def removed(
    session: Session, layer: Any, strength: float = 1.0, outputs: tuple[str, ...] = ("starless",),
    screen: bool = False,
) -> dict[str, Any]:  # fmt: skip
    settings = Settings(strength=strength, outputs=outputs, screen=screen)
    *_, outcome = run(session.request(layer, settings), session.engine)
    assert isinstance(outcome, Outcome)
    list(place(session.viewer, build(outcome)))
    return own_layers(session.viewer, str(layer.unique_id))


def test_a_duplicate_of_a_result_is_the_users(make_sky: Callable[..., Any]) -> None:
    from napari.layers._layer_actions import _duplicate_layer

    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    session = Session(viewer)
    session.engine = Engine(models={(None, "auto"): StandIn()})
    for strength in (1.0, 0.5, 0.2):  # the second run fills the old layer anew
        made = removed(session, layer, strength)
        if strength == 1.0:
            viewer.layers.selection = {made["starless"]}
            _duplicate_layer(viewer.layers)
            copy = viewer.layers["m31 starless copy"]
            before = copy.data.copy()
    assert mark(made["starless"])["strength"] == 0.2
    assert [x.name for x in viewer.layers] == ["m31", "m31 starless", "m31 starless copy"]
    assert viewer.layers["m31 starless copy"] is copy
    np.testing.assert_array_equal(copy.data, before)


def test_a_result_that_goes_while_placing_comes_anew(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    session = Session(viewer)
    session.engine = Engine(models={(None, "auto"): StandIn()})
    for again in (False, True):
        *_, outcome = run(session.request(layer, Settings(outputs=OUTPUTS)), session.engine)
        assert isinstance(outcome, Outcome)
        for step, _ in enumerate(place(viewer, build(outcome))):
            if again and step == 0:
                viewer.layers.remove("m31 starless")
                viewer.layers.remove("m31 removed stars")
    assert set(own_layers(viewer, str(layer.unique_id))) == set(OUTPUTS)


def test_stars_for_screen_blending_are_shown_on_their_own_scale(
    make_sky: Callable[..., Any],
) -> None:
    viewer = ViewerModel()
    picture = make_sky("f4").clip(0, 1)
    layer = viewer.add_image(picture, rgb=True, contrast_limits=(0.1, 0.4), name="m31")
    session = Session(viewer)
    session.engine = Engine(models={(None, "auto"): StandIn()})
    limits, seen = [], []
    for screen in (False, True, True, False):
        stars = removed(session, layer, outputs=("stars",), screen=screen)["stars"]
        limits.append(tuple(stars.contrast_limits))
        seen.append(stars)
        if len(seen) == 2:  # what a hand has set stays while the scale does
            stars.contrast_limits = (0, 0.7)
    assert all(stars is seen[0] for stars in seen)
    white = pytest.approx(float(picture.max()), rel=0.01)
    assert limits == [(0, pytest.approx(0.3)), (0, white), (0, 0.7), (0, pytest.approx(0.3))]


def test_rings_are_filled_anew_with_all_that_they_say(make_sky: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    picture = make_sky("u2")
    layer = viewer.add_image(picture.copy(), rgb=True, name="m31")
    session = Session(viewer)
    session.engine = Engine(models={(None, "auto"): StandIn()})
    rings = removed(session, layer, outputs=("points",))["points"]
    everywhere = rings.data.copy()
    rings.selected_data, rings.visible = {0, len(everywhere) - 1}, False
    layer.data[:, :85] = np.median(picture)
    for few in (True, False):
        assert removed(session, layer, outputs=("points",))["points"] is rings
        if few:
            assert 0 < len(rings.data) < len(everywhere)
            assert rings.data[:, 1].min() > 80
        else:
            np.testing.assert_allclose(rings.data, everywhere)
        assert not rings.visible
        assert not rings.editable
        assert not rings.selected_data
        np.testing.assert_allclose(rings.features["x"], rings.data[:, 1], rtol=1e-6)
        fwhm = rings.features["fwhm"].to_numpy()
        np.testing.assert_allclose(rings.size, np.maximum(2.5 * fwhm, 4), rtol=1e-5)
        orange = (1, 176 / 255, 0, 1)
        np.testing.assert_allclose(rings.border_color, [orange] * len(rings.data), atol=1e-6)
        assert not rings.face_color[:, 3].any()
        layer.data[...] = picture


def test_the_chosen_picture_stays_through_a_run(opened: Any, make_sky: Any, ended: Any) -> None:
    viewer, panel = opened()
    other = viewer.add_image(make_sky("u2"), rgb=True, name="m33")
    active = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.form.image.setCurrentIndex(panel.form.image.findText("m33"))
    for button in (panel.preview_button, panel.run_button):
        button.click()
        ended(panel)
        assert panel.picture() is other
        assert viewer.layers.selection.active is active
    active.name = "andromeda"
    assert panel.picture() is other
    assert "m33 starless" in viewer.layers
    viewer.layers.selection.active = viewer.layers["m33 starless"]
    assert panel.picture() is other
    viewer.layers.selection.active = active
    assert panel.picture() is active


@pytest.mark.parametrize("fits", [True, False])
def test_blending_does_not_outlast_a_rerun(
    opened: Any, make_sky: Any, ended: Any, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    from nox_napari import results

    viewer, panel = opened()
    viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.run_button.click()
    ended(panel)
    monkeypatch.setattr(results, "_fits", lambda *_: fits)
    mode = panel.compare.mode
    mode.setCurrentIndex(mode.findData("blend"))
    viewer.layers["m31 starless"].opacity = 0.5
    panel.form.outputs["mask"].setChecked(True)
    panel.run_button.click()
    ended(panel)
    assert viewer.layers["m31 starless"].opacity == 0.5
    mode.setCurrentIndex(mode.findData("off"))
    assert viewer.layers["m31 starless"].opacity == 1


def test_an_error_while_placing_does_not_jam_the_panel(
    opened: Any, make_sky: Any, ended: Any, notified: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_napari import panel as module

    def broken(*_: Any) -> Any:
        raise ValueError("nobody foresaw this")
        yield

    viewer, panel = opened()
    viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    with monkeypatch.context() as patch:
        patch.setattr(module, "place", broken)
        panel.run_button.click()
        ended(panel)
    assert len(notified()) == 1
    assert panel.run_button.text() == "Remove stars"
    panel.run_button.click()
    ended(panel)
    assert "m31 starless" in viewer.layers
