"""The work, as a generator of plain objects: no window, no viewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from nox_napari.layers import Picture, Window, colours_first
from nox_napari.protect import Protection
from nox_runtime import stretch as stretches
from nox_runtime.engine import DEFAULT_TILE
from nox_runtime.errors import DeviceError
from nox_runtime.model import Model, load_model
from nox_runtime.removal import Removal, StarRemover
from nox_runtime.stretch import Stretch

#: What can be asked for, in the order in which the layers lie.
OUTPUTS = ("starless", "stars", "mask", "points")
#: A preview may take about this long, in seconds.
PREVIEW_SECONDS = 0.8
#: Pixels of which the stretch is found: as many as the runtime takes.
_SAMPLE = 4_000_000
#: Pixels a second before anything has been measured, by device; others are GPUs.
_PACE = {"cpu": 3e5}
_PACE_OF_OTHERS = 4e6


@dataclass(frozen=True)
class Settings:
    """What the user chose; the defaults are the panel's.

    ``model`` is a name or a path; ``max_size`` in pixels, None for any;
    ``large_stars`` whether large ones that stay are to be looked for at half the scale; ``screen``
    whether stars are to be put back by screen blending; ``whole_stack`` whether all
    pictures of a stack are meant, or the one in view.
    """

    model: str | None = None
    device: str = "auto"
    stretch: str = "auto"
    strength: float = 1.0
    max_size: float | None = None
    large_stars: bool = False
    tile: int = DEFAULT_TILE
    outputs: tuple[str, ...] = ("starless", "stars")
    screen: bool = False
    whole_stack: bool = False


@dataclass(frozen=True)
class Request:
    """One job.  With `window` it is a preview of that part, shrunk by `step`."""

    picture: Picture
    settings: Settings
    planes: tuple[tuple[int, ...], ...] = ((),)
    protection: Protection | None = None
    window: Window | None = None
    step: int = 1


@dataclass(frozen=True)
class Progress:
    """Tiles done of all; seconds left, None while nobody knows; what is going on.

    ``device`` is what runs the model; ``stretch`` how it is shown the picture, in words.
    """

    done: int
    total: int
    left: float | None = None
    text: str = ""
    device: str = ""
    stretch: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a job came to: a `Removal` for each of its planes."""

    request: Request
    removals: tuple[Removal, ...]
    seconds: float
    #: Whether nothing was protected that was asked to be.
    bare: bool = False
    #: Notes that earlier runs have told.
    heard: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for the panel: device, stretch and time."""
        first = self.removals[0]
        parts = [f"on {first.device}", stretch_in_words(first.stretch), f"{self.seconds:.1f} s"]
        if self.request.window is not None:
            size = "full size" if self.request.step == 1 else f"1/{self.request.step} size"
            return f"Preview at {size}, " + ", ".join(parts)
        return "Done " + ", ".join(parts)

    @property
    def notes(self) -> tuple[str, ...]:
        """Fallbacks and warnings of the run, each once, but for those told before."""
        notes = [n for removal in self.removals for n in removal.notes if n not in self.heard]
        if self.bare and self.request.protection is not None:
            notes.append(f"{self.request.protection.name} covers nothing of the picture")
        return tuple(dict.fromkeys(notes))


def stretch_in_words(used: Stretch) -> str:
    """How a picture was shown to the model, for the status line."""
    if used.kind == "auto":
        return "automatic stretch (linear picture)"
    if used.kind == "none":
        return "no stretch" if used.reason == "as asked for" else "no stretch (stretched already)"
    return f"{used.kind.upper() if used.kind == 'mtf' else used.kind} stretch"


@dataclass
class Engine:
    """Loaded models, how fast they ran, and a lock: one job at a time has the device."""

    models: dict[tuple[str | None, str, int], Model] = field(default_factory=dict)
    pace: dict[str, float] = field(default_factory=dict)
    stretches: dict[tuple[Any, ...], Stretch] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def remover(self, settings: Settings) -> StarRemover:
        """The remover for these settings; loads the model if need be.

        Raises
        ------
        ModelError, DeviceError, UsageError
        """
        key = (settings.model, settings.device, _written(settings.model))
        if key not in self.models:
            for old in [k for k in self.models if k[:2] == key[:2]]:
                del self.models[old]  # of a file that was written anew
            self.models[key] = load_model(settings.model, device=settings.device)
        return StarRemover(self.models[key], tile=settings.tile, large_stars=settings.large_stars)

    def forget(self, model: Model) -> None:
        """Load it anew next time."""
        self.models = {k: m for k, m in self.models.items() if m is not model}

    def stretch(
        self, picture: Picture, plane: tuple[int, ...], kind: str, *, anew: bool = False
    ) -> Stretch:
        """The stretch of a whole picture, remembered for its next preview.

        With `anew` nothing remembered is used: the pixels may have been edited.
        """
        key = (picture.key, id(picture.data), plane, kind)
        if anew or key not in self.stretches:
            if len(self.stretches) > 100:
                self.stretches.clear()
            sample = picture.sample(plane, _SAMPLE)
            found = stretches.choose(kind, stretches.statistics(sample, picture.dtype))
            self.stretches[key] = found
        return self.stretches[key]

    def expected_pace(self, device: str) -> float:
        """Pixels a second that this device did, or may do."""
        return self.pace.get(device, _PACE.get(device, _PACE_OF_OTHERS))

    def preview_step(self, window: Window, device: str) -> int:
        """How much to shrink a window so that its preview takes about a second."""
        y0, y1, x0, x1 = window
        room = max(self.expected_pace(device) * PREVIEW_SECONDS, 1.0)
        return max(1, int(np.ceil(np.sqrt((y1 - y0) * (x1 - x0) / room))))


def _written(model: str | None) -> int:
    """When a model's file was written, in ns; 0 of one that is known by its name."""
    try:
        return Path(model).stat().st_mtime_ns if model else 0
    except OSError:
        return 0


def run(
    request: Request, engine: Engine, cancelled: Callable[[], bool] | None = None
) -> Iterator[Progress | Outcome]:
    """Do a job; stop iterating to cancel, or say so by `cancelled` in the middle of a tile.

    Yields
    ------
    Progress
        A tile at a time.
    Outcome
        Last.

    Raises
    ------
    NoxError
        One line for the user; StoppedError where it was `cancelled`.
    """
    while not engine.lock.acquire(timeout=0.05):
        yield Progress(0, 0, text="Waiting for the cancelled run to let go ...")
    try:
        yield Progress(0, 0, text="Loading the model ...")
        known = list(engine.models.values())
        remover = engine.remover(request.settings)
        model, device = remover.model, remover.model.device
        # The run that loaded a model tells its notes; later ones tell what is new.
        heard = tuple(model.notes) if any(m is model for m in known) else ()
        job = _full if request.window is None else _preview
        try:
            for item in job(request, engine, remover, cancelled):
                yield replace(item, heard=heard) if isinstance(item, Outcome) else item
        finally:
            if model.device != device:  # its memory was full: it may not be next time
                engine.forget(model)
    except DeviceError:
        engine.models.clear()  # a lost device does not come back in its old session
        raise
    finally:
        engine.lock.release()


class _Clock:
    """Time left by the pace so far; the first tile, which also starts things up, is no guide."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        #: Tiles a second.
        self.pace: float | None = None

    def tick(self, done: int) -> None:
        if self._first is None and done > 0:
            self._first = (done, time.monotonic())
        elif self._first is not None and done > self._first[0]:
            passed = max(time.monotonic() - self._first[1], 1e-6)
            self.pace = (done - self._first[0]) / passed

    def left(self, done: int, total: int) -> float | None:
        """Seconds, None before the second tile."""
        return (total - done) / self.pace if self.pace else None


def _full(
    request: Request, engine: Engine, remover: StarRemover, cancelled: Callable[[], bool] | None
) -> Iterator[Progress | Outcome]:
    picture, settings = request.picture, request.settings
    each = remover.tiles(picture.height, picture.width)
    began, clock, removals, covered = time.monotonic(), _Clock(), [], False
    yield Progress(0, each * len(request.planes), text="Reading the picture ...")
    for k, plane in enumerate(request.planes):
        pixels = picture.read(plane)
        if picture.rgb:
            pixels = np.moveaxis(pixels[..., :3], -1, 0)
        protect = request.protection.mask(picture, plane) if request.protection else None
        covered = covered or protect is not None
        used = engine.stretch(picture, plane, settings.stretch, anew=True)
        steps = remover.iter_remove(
            pixels, stretch=used, strength=settings.strength, protect=protect,
            max_size=settings.max_size, catalog="points" in settings.outputs,
            wcs=_sky(picture.metadata.get("wcs")), cancelled=cancelled,
            saturation=_stated(picture.metadata.get("header")),
        )  # fmt: skip
        for step, removal in steps:
            done, total = k * each + step.done, len(request.planes) * each
            clock.tick(done)
            yield Progress(
                done, total, clock.left(done, total),
                device=remover.model.device, stretch=stretch_in_words(used),
            )  # fmt: skip
            if removal is not None:
                removals.append(removal)
    seconds = time.monotonic() - began
    if clock.pace is not None and "points" not in settings.outputs:
        engine.pace[remover.model.device] = clock.pace * picture.height * picture.width / each
    yield Outcome(request, tuple(removals), seconds, bare=not covered)


def _sky(known: Any) -> WCS | None:
    """The WCS of a picture; other plugins keep other things under that name."""
    return known if isinstance(known, WCS) else None


def _stated(header: Any) -> Any:
    """Where a FITS header says that pixels saturate; None where nothing does."""
    return header.get("SATURATE") if isinstance(header, Header) else None


def _preview(
    request: Request, engine: Engine, remover: StarRemover, cancelled: Callable[[], bool] | None
) -> Iterator[Progress | Outcome]:
    """Only what is in view, with the surroundings that the model needs."""
    assert request.window is not None
    picture, settings = request.picture, request.settings
    plane, step = request.planes[0], request.step
    began = time.monotonic()
    used = engine.stretch(picture, plane, settings.stretch)
    grown, inside = _with_margin(
        request.window, remover.layout.margin * step, step, (picture.height, picture.width)
    )
    pixels = shrunk(colours_first(picture.read(plane, grown), picture.rgb), step)
    protect = None
    if request.protection is not None:
        mask = request.protection.mask(picture, plane, grown)
        if mask is not None:
            protect = shrunk(mask[None].astype(np.float32), step)[0]
    height, width = pixels.shape[-2:]
    y0, y1, x0, x1 = inside
    region = (min(y0, height), min(y1, height), min(x0, width), min(x1, width))
    began_network = time.monotonic()
    steps = remover.iter_remove(
        pixels if picture.rgb else pixels[0], stretch=used, strength=settings.strength,
        protect=protect, max_size=settings.max_size and settings.max_size / step,
        # What a view cuts is measured whole: smaller, it might be no galaxy.
        region=None if settings.max_size else region, cancelled=cancelled,
    )  # fmt: skip
    for at, removal in steps:
        if removal is None:
            yield Progress(at.done, at.total, text="Previewing ...")
            continue
        ended = time.monotonic()
        # Of all that was computed: a small view is mostly surroundings.
        engine.pace[removal.device] = height * width / max(ended - began_network, 1e-3)
        yield Outcome(request, (_cropped(removal, region),), ended - began)


def _with_margin(
    window: Window, margin: int, step: int, shape: tuple[int, int]
) -> tuple[Window, Window]:
    """A window with surroundings, and where the window lies in it after shrinking."""
    y0, y1, x0, x1 = window
    # Whole large pixels before the window, so that both grids agree.
    top, left = min(margin, y0) // step * step, min(margin, x0) // step * step
    grown = (y0 - top, min(y1 + margin, shape[0]), x0 - left, min(x1 + margin, shape[1]))
    rows, columns = max(1, (y1 - y0) // step), max(1, (x1 - x0) // step)
    return grown, (top // step, top // step + rows, left // step, left // step + columns)


def shrunk(planes: np.ndarray, step: int) -> np.ndarray:
    """Means of squares of `step` pixels, (C, h, w); what is left over at the end is dropped."""
    if step == 1:
        return planes
    c, h, w = planes.shape
    step_y, step_x = min(step, h), min(step, w)
    h, w = h // step_y * step_y, w // step_x * step_x
    parts = planes[:, :h, :w].reshape(c, h // step_y, step_y, w // step_x, step_x)
    return np.asarray(parts.mean(axis=(2, 4), dtype=np.float32))


def _cropped(removal: Removal, region: Window) -> Removal:
    y0, y1, x0, x1 = region

    def crop(a: np.ndarray) -> np.ndarray:
        return a[..., y0:y1, x0:x1]

    return Removal(
        crop(removal.starless), crop(removal.stars), crop(removal.mask), removal.stretch,
        removal.device, removal.model, removal.seconds, removal.white, None, removal.notes,
    )  # fmt: skip
