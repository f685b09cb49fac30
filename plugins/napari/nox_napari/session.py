"""What the panel knows, without a window: layers to choose from, and jobs to be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from napari.layers import Image, Labels, Layer, Shapes

from nox_napari.display import seen_box
from nox_napari.job import Engine, Outcome, Progress, Request, Settings, run
from nox_napari.layers import picture_of, shown_plane, visible_window
from nox_napari.protect import protection_of
from nox_napari.results import build, mark
from nox_runtime.errors import NoxError, UsageError


class Failure:
    """A job that came to nothing; `error` says why."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Session:
    """A viewer, and the engine that works for it.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.engine = Engine()

    def pictures(self) -> list[Layer]:
        """Image layers, those that nox made last."""
        found = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        return sorted(found, key=lambda layer: bool(mark(layer)))

    def protectors(self) -> list[Layer]:
        """Layers that can say what shall stay."""
        return [layer for layer in self.viewer.layers if isinstance(layer, (Labels, Shapes))]

    def preferred(self, current: Layer | None) -> Layer | None:
        """The picture to choose: the current one, else the one selected, else the first.

        What nox made is chosen only where a hand does it.
        """
        known = self.pictures()
        if current is not None and current in known:
            return current
        active = self.viewer.layers.selection.active
        if isinstance(active, Image) and active in known and not mark(active):
            return active
        return known[0] if known else None

    def request(
        self,
        layer: Layer | None,
        settings: Settings,
        protector: Layer | None = None,
        *,
        preview: bool = False,
        device: str = "cpu",
    ) -> Request:
        """Take down a job as things stand.

        Parameters
        ----------
        layer : Layer or None
            The picture.
        settings : Settings
        protector : Layer, optional
            Labels or shapes.
        preview : bool
            Only what is in view.
        device : str
            What will probably run, for the size of a preview.

        Raises
        ------
        UsageError
            No picture, the wrong kind of layer, or nothing to make.
        """
        picture = picture_of(layer)
        protection = protection_of(protector, tuple(self.viewer.dims.point))
        assert layer is not None
        plane: tuple[int, ...] = ()
        if picture.lead:
            plane = shown_plane(layer, tuple(self.viewer.dims.point))
        if preview:
            window = visible_window(layer, picture.height, picture.width, seen_box(self.viewer))
            step = self.engine.preview_step(window, device)
            return Request(picture, settings, (plane,), protection, window, step)
        if not settings.outputs:
            raise UsageError("nothing to make; tick starless, stars, star mask or removed stars")
        planes = tuple(picture.planes()) if settings.whole_stack else (plane,)
        return Request(picture, settings, planes, protection)


def work(
    request: Request, engine: Engine, cancelled: Callable[[], bool]
) -> Iterator[Progress | tuple[Outcome, list[Layer]] | Failure]:
    """The whole of a job, for a thread of its own: progress, then layers or a failure.

    Ends without either once `cancelled` says so.
    """
    last = Progress(0, 0)
    try:
        with closing(run(request, engine, cancelled)) as steps:  # type: ignore[type-var]
            for item in steps:
                if cancelled():
                    return
                if isinstance(item, Progress):
                    last = item
                    yield item
                    continue
                yield Progress(last.done, last.total, text="Making the layers ...")
                made = build(item)
                if not cancelled():
                    yield item, made
    except (NoxError, MemoryError) as error:
        if not cancelled():
            yield Failure(error)


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def progress_in_words(progress: Progress) -> str:
    """The status line of a running job."""
    if progress.text:
        return progress.text
    parts = [f"Tile {progress.done} of {progress.total} on {progress.device}"]
    if progress.stretch:
        parts.append(progress.stretch)
    if progress.left is not None:
        parts.append(f"{in_words(progress.left)} left")
    return ", ".join(parts)


def size_in_words(layer: Layer | None) -> str:
    """The status line of a picture that waits."""
    try:
        picture = picture_of(layer)
    except UsageError as error:
        return "Open a picture to begin." if layer is None else str(error)
    kind = f"{picture.dtype.name} {'RGB' if picture.rgb else 'mono'}"
    count = 1
    for n in picture.lead:
        count *= n
    stack = f"{count} x " if picture.lead else ""
    return f"{stack}{picture.width} x {picture.height} px, {kind}"
