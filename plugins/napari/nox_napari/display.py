"""How linear pictures are shown, and which way up."""

from __future__ import annotations

import warnings
from typing import Any

import napari.viewer
import numpy as np

from nox_runtime import stretch as stretches
from nox_runtime.stretch import TARGET_BACKGROUND

#: napari's gamma that shows a linear picture: near the middle of its slider.
_GAMMA = 0.5


def shown_like_stretched(planes: np.ndarray) -> dict[str, Any]:
    """Layer settings with which napari shows a picture about as Siril would.

    Parameters
    ----------
    planes : ndarray, shape (C, H, W)
        The picture, or a sample of it, in its own units.

    Returns
    -------
    dict
        ``contrast_limits`` and ``gamma``.  A linear picture's background comes to
        0.25, as with an automatic stretch; a stretched picture is shown as it is.
    """
    stats = stretches.statistics(planes)
    used = stretches.choose("auto", stats)
    if not used.linear:
        return {"contrast_limits": (min(used.black), max(used.white)), "gamma": 1.0}
    black, level = min(used.black), float(np.mean(stats.median))
    # gamma: ((median - black) / span) ** gamma = target
    span = (level - black) / TARGET_BACKGROUND ** (1 / _GAMMA)
    if not span > 0:
        return {"contrast_limits": (stats.low, max(stats.high, stats.low + 1e-6)), "gamma": 1.0}
    white = min(black + span, max(stats.high, black + span / 4))
    return {"contrast_limits": (black, white), "gamma": _GAMMA}


def camera(viewer: Any) -> Any:
    """The camera; napari 0.9 moved it."""
    return getattr(viewer, "scene", viewer).camera


def canvas(viewer: Any) -> Any:
    """napari's canvas, or None without a window."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # private, and known to be
        try:
            return viewer.window._qt_viewer.canvas
        except Exception:  # without a window, or an inside of napari we do not know
            return None


def seen_box(viewer: Any) -> np.ndarray | None:
    """The part of the world on the canvas: first and last (row, column), shape (2, 2).

    None where that cannot be told: without a window, in three dimensions, in a grid.
    """
    try:
        if viewer.dims.ndisplay != 2 or getattr(viewer, "canvas", viewer).grid.enabled:
            return None
        sides = np.asarray(canvas(viewer).size, float)
        found = camera(viewer)
        centre = np.asarray(found.center, float)[-2:]
        half = sides / (2 * float(found.zoom))
    except Exception:  # an inside of napari we do not know
        return None
    return np.stack([centre - half, centre + half])


def is_turned_over(viewer: Any) -> bool:
    """Whether the first row is at the bottom of the window."""
    return str(camera(viewer).orientation2d[0]) == "up"


def set_turned_over(viewer: Any, up: bool) -> None:
    """Show the first row at the bottom, as FITS viewers do, or at the top again.

    Only the view changes; rows stay where they are in the data.
    """
    found = camera(viewer)
    found.orientation2d = ("up" if up else "down", found.orientation2d[1])


def turn_over(viewer: napari.viewer.Viewer) -> None:
    """The command of the menu: turn the view over."""
    set_turned_over(viewer, not is_turned_over(viewer))
