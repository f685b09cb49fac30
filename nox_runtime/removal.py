"""Remove the stars from a picture: the public API on arrays.

>>> from nox_runtime import remove_stars
>>> result = remove_stars(picture)               # doctest: +SKIP
>>> result.starless, result.stars, result.mask   # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime import controls as controlling
from nox_runtime import lazy
from nox_runtime import stretch as stretches
from nox_runtime.controls import Controls
from nox_runtime.devices import free_memory, tile_for
from nox_runtime.engine import Elsewhere, Layout, Step
from nox_runtime.errors import UsageError
from nox_runtime.fallback import Steady
from nox_runtime.flow import NativeReader, Rows, count_regional, descreen, iter_rows, split
from nox_runtime.interruption import Interruption
from nox_runtime.model import Model, ModelFacts, load_model
from nox_runtime.stretch import Statistics, Stretch

__all__ = ["Controls", "Removal", "Rows", "StarRemover", "descreen", "remove_stars", "split"]


@dataclass(frozen=True)
class Removal:
    """What became of a picture.

    Attributes
    ----------
    starless : ndarray
        Shape and type of the input.
    stars : ndarray
        ``input - starless``; for integers exactly, for floats within 1 ulp of the
        largest of the three.
    mask : ndarray, shape (H, W), float32
        Light taken away on the display scale, the most of the channels, 0 to 1.
        Where it is 0, `starless` is the input bit by bit.
    stretch : Stretch
        The stretch that was used, with its parameters.
    device : str
        The device that ran the model.
    model : ModelFacts
    seconds : float
    white : float
        The value that stands for 1 in `descreened`; of a dask array a dask value.
    catalog : astropy.table.Table or None
        The removed stars, where asked for; see `nox_runtime.catalog.Cataloguer.table`.
    notes : tuple of str
        Fallbacks and warnings.
    """

    starless: np.ndarray
    stars: np.ndarray
    mask: np.ndarray
    stretch: Stretch
    device: str
    model: ModelFacts
    seconds: float
    white: float = 1.0
    catalog: Any = None
    notes: tuple[str, ...] = ()

    @cached_property
    def descreened(self) -> np.ndarray:
        """The stars for screen blending, 0 to `white`; see `descreen`."""
        if lazy.is_lazy(self.starless):
            made: np.ndarray = lazy.descreened(self.starless, self.stars, self.white)
            return made
        return descreen(self.starless + self.stars, self.starless, self.white)


class StarRemover:
    """A loaded model, to be used on many pictures, also from several threads at once.

    Parameters
    ----------
    model : str, Path or Model, optional
        Name of a built-in model, an .onnx file that nox-export wrote, or a loaded
        one; by default the one that comes with nox.
    device : str
        'auto' or one of `nox_runtime.model.available_devices`.
    tile : int, optional
        Side of the square that is worked on at once, in pixels; by default what the
        device's free memory takes.
    overlap : int, optional
        Pixels of surroundings a tile reads on each side; by default the model's
        receptive field, with which results do not depend on the tiles.
    threads : int
        Of the CPU; 0 for all cores.
    passes : int
        1, or 2 to also take what the first pass left, for dense fields.
    upsample : bool
        Show the model twice the scale, for stars under 1.5 pixels.
    large_stars : bool
        Last, show the model what is left at half the scale: large stars that stayed go, and
        many small galaxies.

    Raises
    ------
    ModelError, DeviceError, UsageError
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        device: str = "auto",
        tile: int | None = None,
        overlap: int | None = None,
        threads: int = 0,
        passes: int = 1,
        upsample: bool = False,
        large_stars: bool = False,
    ) -> None:
        if passes not in (1, 2):
            raise UsageError(f"passes is {passes}; it must be 1 or 2")
        if tile is not None and tile < 64:
            raise UsageError(f"tile is {tile}; it must be at least 64 pixels")
        if overlap is not None and overlap < 0:
            raise UsageError(f"overlap is {overlap}; it must be 0 pixels or more")
        self.model = (
            model if isinstance(model, Model) else load_model(model, device=device, threads=threads)
        )
        facts = self.model.facts
        margin = facts.receptive_field if overlap is None else overlap
        self.runs = Steady(self.model, margin)
        scale = 2 if upsample else 1
        if tile is None:
            tile = tile_for(self.model.device, free_memory(self.model.device), scale)
        self.layout = Layout.of_network(
            facts.channels, facts.multiple, margin, tile, passes, scale, halved=large_stars
        )

    def tiles(self, height: int, width: int, region: tuple[int, ...] | None = None) -> int:
        """How many tiles a picture of this size, or a region of it, takes."""
        return count_regional(height, width, self.layout, region)

    def iter_rows(
        self,
        read: NativeReader,
        shape: tuple[int, int, int],
        stretch: Stretch,
        stats: Statistics,
        controls: Controls | None = None,
        notes: list[str] | None = None,
        elsewhere: Elsewhere | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[Step, Rows | None]]:
        """Remove stars row by row, for pictures too large to hold; stop to cancel.

        Parameters
        ----------
        read : callable
            See `NativeReader`.
        shape : tuple of int
            Channels, height and width.
        stretch : Stretch
        stats : Statistics
            Their medians stand in for NaN and infinities before the model.
        controls : Controls, optional
            What shall stay.
        notes : list of str, optional
            What the user should know is added to it.
        elsewhere : callable, optional
            Does the tiles instead of this process; see `nox_runtime.engine.Elsewhere`.
        cancelled : callable, optional
            Asked before each step, and five times a second while a tile is waited for; once
            true, the tile is given up.  Not asked with `elsewhere`.

        Yields
        ------
        step : Step
            Progress, a tile at a time.
        rows : Rows or None
            Those that are finished; in order, each once.

        Raises
        ------
        StoppedError
            `cancelled` said so.
        """
        interruption = Interruption()
        return iter_rows(
            read, shape, partial(self.runs, interruption=interruption), self.layout, stretch, stats,
            Controls() if controls is None else controls, [] if notes is None else notes, elsewhere,
            interruption.end, cancelled,
        )  # fmt: skip

    def iter_remove(
        self,
        image: np.ndarray,
        *,
        stretch: str | Stretch = "auto",
        strength: float = 1.0,
        protect: np.ndarray | None = None,
        keep: Any = None,
        max_size: float | None = None,
        min_roundness: float | None = None,
        region: Sequence[int] | None = None,
        catalog: bool = False,
        wcs: Any = None,
        saturation: Any = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[Step, Removal | None]]:
        """As `remove`, yielding progress, a tile at a time; the last item has the result.

        Stop iterating to cancel, or from another thread by `cancelled`; see `iter_rows`.
        `saturation` is where the catalogue's stars are saturated, in the picture's units, if
        the picture's own header (``SATURATE``) does not tell.  Of a dask array nothing is
        computed here that could be cancelled.
        """
        began = time.monotonic()
        header, image = getattr(image, "header", None), _values(image)
        picture, restore = _as_planes(image)
        shape = (picture.shape[0], picture.shape[1], picture.shape[2])
        controls = controlling.checked(
            shape[1:], strength=strength, protect=protect, keep=keep, max_size=max_size,
            min_roundness=min_roundness, region=region,
        )  # fmt: skip
        if lazy.is_lazy(picture):
            yield Step(1, 1), self._lazily(picture, restore, stretch, controls, catalog)
            return
        stats = stretches.statistics(picture)
        used = stretches.choose(stretch, stats) if isinstance(stretch, str) else stretch
        starless, stars = np.empty_like(picture), np.empty_like(picture)
        mask = np.zeros(picture.shape[1:], np.float32)
        stated = saturation if header is None else header.get("SATURATE", saturation)
        cataloguer = _cataloguer(shape, stats, stated) if catalog else None
        notes: list[str] = []

        def read(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
            return picture[:, y0:y1, x0:x1]

        step = Step(0, 1)
        steps = self.iter_rows(read, shape, used, stats, controls, notes, cancelled=cancelled)
        for step, rows in steps:
            if rows is not None:
                y = slice(rows.start, rows.start + rows.starless.shape[1])
                starless[:, y], stars[:, y] = rows.starless, rows.stars
                mask[y] = np.abs(rows.residual).max(axis=0)
                if cataloguer is not None:
                    cataloguer.add(rows.start, rows.residual, rows.stars, rows.picture)
            if step.done < step.total:
                yield Step(step.done, step.total), None
        yield (
            Step(step.done, step.total),
            Removal(
                restore(starless), restore(stars), mask, used, self.model.device,
                self.model.facts, time.monotonic() - began,
                white=stats.white if stats.white > 0 else 1.0,
                catalog=cataloguer.table(wcs) if cataloguer is not None else None,
                notes=(*self.model.notes, *notes),
            ),
        )  # fmt: skip

    def _lazily(
        self, picture: Any, restore: Callable[[Any], Any], stretch: str | Stretch,
        controls: Controls, catalog: bool,
    ) -> Removal:  # fmt: skip
        if catalog:
            controls = replace(controls, max_size=np.inf)  # refused alike
        made = lazy.remove(picture, self.runs, self.layout, stretch, controls)
        return Removal(
            restore(made.starless), restore(made.stars), made.mask, made.stretch,
            self.model.device, self.model.facts, 0.0, white=made.white,
            notes=tuple(self.model.notes),
        )  # fmt: skip

    def remove(
        self,
        image: np.ndarray,
        *,
        stretch: str | Stretch = "auto",
        strength: float = 1.0,
        protect: np.ndarray | None = None,
        keep: Any = None,
        max_size: float | None = None,
        min_roundness: float | None = None,
        region: Sequence[int] | None = None,
        catalog: bool = False,
        wcs: Any = None,
    ) -> Removal:
        """Remove the stars from a picture.

        Parameters
        ----------
        image : array, shape (H, W), (C, H, W) or (H, W, C) with C of 1 or 3
            Any real type and range; NaN and infinities come back as they are.  A numpy
            array; an NDData, CCDData or HDU of astropy, whose data is taken; or a dask
            array, whose results are dask arrays that nothing has been computed of.
        stretch : {'auto', 'none', 'mtf', 'asinh'} or Stretch
            See `nox_runtime.stretch.choose`.
        strength : float
            0 leaves the stars as they are, 1 takes them away; between, stars become
            smaller and fainter.
        protect : ndarray, shape (H, W), optional
            Truth values, or numbers from 0 to 1: where it is 1 nothing is changed.
        keep : table or sequence of (x, y) or (x, y, radius), optional
            Stars that stay: columns, rows and radii in pixels, 0 is the centre of the
            first one; without a radius the object found there stays.
        max_size : float, optional
            Objects of a larger full width at half maximum, in pixels, stay.
        min_roundness : float, optional
            Objects whose axes have a smaller ratio, 0 to 1, stay.
        region : tuple of int, optional
            First row, row after the last, first column, column after the last: only
            there anything is changed.
        catalog : bool
            Measure the stars that were removed; needs the extra ``catalog``, and so do
            `max_size`, `min_roundness` and `keep` without radii.
        wcs : astropy.wcs.WCS, optional
            Adds sky positions to the catalogue.

        Returns
        -------
        Removal

        Raises
        ------
        UsageError
            The array is no picture, an argument is out of its range, or what it needs
            is not installed.
        """
        *_, (_, result) = self.iter_remove(
            image, stretch=stretch, strength=strength, protect=protect, keep=keep,
            max_size=max_size, min_roundness=min_roundness, region=region, catalog=catalog,
            wcs=wcs,
        )  # fmt: skip
        assert result is not None
        return result


def _cataloguer(shape: tuple[int, int, int], stats: Statistics, stated: Any) -> Any:
    from nox_runtime.catalog import Cataloguer

    return Cataloguer(shape, stats, stated)


def _values(image: Any) -> Any:
    """The numbers of an array, NDData, CCDData or HDU; dask arrays stay what they are."""
    if lazy.is_lazy(image):
        return image
    data = getattr(image, "data", None)
    if isinstance(image, np.ndarray) or data is None or isinstance(data, memoryview):
        return np.asarray(image)
    return data if lazy.is_lazy(data) else np.asarray(data)


def _as_planes(image: Any) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """A picture as (C, H, W), and the function that brings back its own shape."""
    if image.dtype.kind not in "uif":
        raise UsageError(f"values are {image.dtype}; they must be integers or floats")
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.ndim == 2 and image.size:
        return native[None], lambda a: a[0]
    if image.ndim == 3 and image.size and image.shape[0] in (1, 3):
        return native, lambda a: a
    if image.ndim == 3 and image.size and image.shape[2] in (1, 3):
        return native.transpose(2, 0, 1), lambda a: a.transpose(1, 2, 0)
    raise UsageError(
        f"shape is {image.shape}; it must be (H, W), (C, H, W) or (H, W, C) with C of 1 or 3"
    )


def remove_stars(
    image: np.ndarray,
    *,
    stretch: str | Stretch = "auto",
    model: str | Path | Model | None = None,
    device: str = "auto",
    **options: Any,
) -> Removal:
    """Remove the stars from a picture.

    Parameters
    ----------
    image, stretch
        As for `StarRemover.remove`.
    model, device
        As for `StarRemover`.
    **options
        As for `StarRemover.remove`.

    Returns
    -------
    Removal
    """
    return StarRemover(model, device=device).remove(image, stretch=stretch, **options)
