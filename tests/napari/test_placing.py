"""Results on their way into the viewer: what is the user's stays, and nothing jams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import StandIn
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from nox_napari.job import OUTPUTS, Engine, Outcome, Settings, run
from nox_napari.results import build, mark, own_layers, place
from nox_napari.session import Session

#: Milliseconds to wait for anything: crowded machines take their time.
WAIT = 180_000


def ended(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: panel._job is None, timeout=WAIT)


def errors() -> list[str]:
    return [str(n.message) for n in notification_manager.records if str(n.severity) == "error"]


def removed(session: Session, layer: Any, strength: float) -> dict[str, Any]:
    settings = Settings(strength=strength, outputs=("starless",))
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


def test_the_chosen_picture_stays_through_a_run(opened: Any, make_sky: Any, qtbot: Any) -> None:
    viewer, panel = opened()
    other = viewer.add_image(make_sky("u2"), rgb=True, name="m33")
    active = viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.form.image.setCurrentIndex(panel.form.image.findText("m33"))
    for button in (panel.preview_button, panel.run_button):
        button.click()
        ended(qtbot, panel)
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
    opened: Any, make_sky: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    from nox_napari import results

    viewer, panel = opened()
    viewer.add_image(make_sky("u2"), rgb=True, name="m31")
    panel.run_button.click()
    ended(qtbot, panel)
    monkeypatch.setattr(results, "_fits", lambda *_: fits)
    mode = panel.compare.mode
    mode.setCurrentIndex(mode.findData("blend"))
    viewer.layers["m31 starless"].opacity = 0.5
    panel.form.outputs["mask"].setChecked(True)
    panel.run_button.click()
    ended(qtbot, panel)
    assert viewer.layers["m31 starless"].opacity == 0.5
    mode.setCurrentIndex(mode.findData("off"))
    assert viewer.layers["m31 starless"].opacity == 1


def test_an_error_while_placing_does_not_jam_the_panel(
    opened: Any, make_sky: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
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
        ended(qtbot, panel)
    assert len(errors()) == 1
    assert panel.run_button.text() == "Remove stars"
    panel.run_button.click()
    ended(qtbot, panel)
    assert "m31 starless" in viewer.layers
