"""The pictures of docs/napari.md: made by its script on a real photograph, and looked at."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import maximum_filter, uniform_filter

pytest.importorskip("qtpy")

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make_napari_pictures.py"
#: Of the rings, as results.py draws them.
RING = (255, 176, 0)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_napari_pictures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def crop(astro: Path, tmp_path: Path) -> Path:
    """The middle of a photograph of many stars, of the canvas's shape."""
    whole = Image.open(astro / "jamesbrink__double-cluster.jpg").convert("RGB")
    x, y = whole.width // 2, whole.height // 2
    path = tmp_path / "double-cluster.png"
    whole.crop((x - 150, y - 177, x + 150, y + 177)).save(path)
    return path


def cores(shot: Image.Image) -> int:
    """Star cores: peaks well above what surrounds them."""
    grey = np.asarray(shot.convert("L"), float)
    peaks = (grey == maximum_filter(grey, 5)) & (grey > uniform_filter(grey, 25) + 60)
    return int(peaks.sum())


def ring_pixels(shot: Image.Image) -> int:
    away = np.abs(np.asarray(shot.convert("RGB"), int) - RING).max(axis=-1)
    return int((away < 40).sum())


@pytest.mark.slow
def test_the_pictures_show_what_the_page_says(
    script: Any, crop: Path, tmp_path: Path, make_napari_viewer: Any, npe2pm: Any, qtbot: Any
) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("astronox"))
    window = script.Window(make_napari_viewer(show=True))
    window.panel.form.tile.setValue(512)
    script.panel_and_slider(window, crop, "Double cluster", tmp_path)
    box = window.canvas_box()
    script.rings(window, crop, "Double cluster", tmp_path, (0.5, 0.5, 3.0))

    shots = {
        name: Image.open(tmp_path / f"napari-{name}.png").convert("RGB")
        for name in ("running", "panel", "removed-stars")
    }
    assert all(shot.size == script.SIZE for shot in shots.values())
    # The panel's picture: before at the left of the line, after at the right.
    middle = (box[0] + box[2]) // 2
    before = shots["panel"].crop((box[0], box[1], middle - 12, box[3]))
    after = shots["panel"].crop((middle + 12, box[1], box[2], box[3]))
    assert cores(before) > 50
    assert cores(after) < cores(before) / 4
    # Rings on the removed stars, and none before.
    assert ring_pixels(shots["panel"].crop(box)) < 20
    assert ring_pixels(shots["removed-stars"].crop(box)) > 500

    with Image.open(tmp_path / "napari-slider.png") as animation:
        assert animation.n_frames == script.FRAMES
        lasts, seen = 0.0, []
        for k in range(script.FRAMES):
            animation.seek(k)
            lasts += animation.info["duration"]
            if k in (script.FRAMES // 4, 3 * script.FRAMES // 4):
                seen.append(animation.convert("RGB"))
    assert lasts == 20_000
    starless, starry = (cores(shot) for shot in seen)
    assert starry > 50
    assert starless < starry / 3
    window.panel.close()


def test_the_captions_name_the_model(script: Any, tmp_path: Path) -> None:
    page = tmp_path / "napari.md"
    page.write_text("Stars removed by nox-1 0.2.0, in nox.\n", encoding="utf-8")
    script.captioned(page, "nox-1 0.10.1")
    assert page.read_text(encoding="utf-8") == "Stars removed by nox-1 0.10.1, in nox.\n"
    # The page itself names one beside each of its two captions.
    text = (SCRIPT.parent / "napari.md").read_text(encoding="utf-8")
    assert text.count("nox-1 ") >= 2
