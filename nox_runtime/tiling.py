"""Tiles as data: where to read, and with what weight to add the result.

An axis is cut into tiles that lie on a grid of the model's size multiple, so
that a pixel always sits at the same phase of the network whatever the tile size.
Each tile reads `margin` pixels more than it answers for (the network's receptive
field), and neighbours share a `feather` of pixels in which one fades into the
other.  The margin is counted from the middle of the fade: where a tile has less it
has less than half of the weight.  The weights of all tiles sum to 1 at every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Pixels in which neighbouring tiles fade into each other.
FEATHER = 16


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the picture; stops are exclusive.

    Attributes
    ----------
    read_start, read_stop : int
        What the network is given; may reach outside the picture, where the
        picture is continued by reflection (by one `multiple` at most: networks
        are trained on cut patches and know edges).
    write_start, write_stop : int
        Where the tile has a weight above 0; inside the picture.
    ramp_in, ramp_out : int
        Length of the fade at the start and at the end; 0 at the picture's edges.
    """

    read_start: int
    read_stop: int
    write_start: int
    write_stop: int
    ramp_in: int
    ramp_out: int

    def __repr__(self) -> str:
        return (
            f"Span(read {self.read_start}:{self.read_stop}, write "
            f"{self.write_start}:{self.write_stop}, fades {self.ramp_in}+{self.ramp_out})"
        )

    @property
    def final_stop(self) -> int:
        """Pixels before this one get nothing from later tiles."""
        return self.write_stop - self.ramp_out

    def weights(self) -> np.ndarray:
        """Weight of each written pixel, float32, shape (write_stop - write_start,)."""
        w = np.ones(self.write_stop - self.write_start, np.float32)
        if self.ramp_in:
            w[: self.ramp_in] = _ramp(self.ramp_in)
        if self.ramp_out:
            w[len(w) - self.ramp_out :] = 1 - _ramp(self.ramp_out)
        return w


def _ramp(length: int) -> np.ndarray:
    return ((np.arange(length) + 0.5) / length).astype(np.float32)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def spans(length: int, tile: int, margin: int, multiple: int, feather: int = FEATHER) -> list[Span]:
    """Cut an axis into as few tiles as can be, all as long, and no longer than they need be.

    A network that has seen a size holds memory for it; each other size costs it a quarter
    of a tile's time more.  The first and the last tile have surroundings on one side alone,
    so they answer for more.

    Parameters
    ----------
    length : int
        Pixels along the axis, at least 1.
    tile : int
        Pixels a tile reads at most; rounded up to what margin and multiple allow.
    margin : int
        Pixels read beyond those answered for, to the middle of the fade; at least the
        receptive field for results that do not depend on the tiles.
    multiple : int
        Sizes and starts of tiles are multiples of this.
    feather : int
        Length of the fade between neighbours.

    Returns
    -------
    list of Span
    """
    feather = min(feather, multiple)
    half = feather // 2
    edge = min(_up(max(margin, 0), multiple), multiple)
    margin = _up(max(margin, half), multiple)
    padded = _up(length, multiple)
    if padded + 2 * edge <= max(tile, 2 * margin + multiple):
        return [Span(-edge, padded + edge, 0, length, 0, 0)]
    tile = max(tile // multiple * multiple, 2 * margin + multiple)
    # What n tiles read between them is n - 1 times two margins more than the axis.
    count = max(2, -(-(padded + 2 * edge - 2 * margin) // (tile - 2 * margin)))
    tile = _up(-(-(padded + 2 * edge + (count - 1) * 2 * margin) // count), multiple)
    step = tile - 2 * margin
    # The first answers for less where that does not come out even.
    short = padded - (tile - margin - edge) - (count - 2) * step
    out = []
    for k in range(count):
        start = short + (k - 1) * step if k else 0
        first, last = k == 0, k == count - 1
        stop = padded if last else short + k * step
        low, high = start - (0 if first else half), stop + (0 if last else half)
        read = -edge if first else start - margin
        out.append(
            Span(
                read,
                read + tile,
                low,
                min(high, length),
                0 if first else 2 * half,
                0 if last else max(0, min(high, length) - (stop - half)),
            )
        )
    return _joined_short_end(out, length)


def _joined_short_end(tiles: list[Span], length: int) -> list[Span]:
    """Give a last tile too short to hold its fade to the tile before it."""
    last = tiles[-1]
    if len(tiles) > 1 and last.write_stop - last.write_start <= 2 * last.ramp_in:
        before = tiles[-2]
        joined = Span(
            before.read_start, last.read_stop, before.write_start, length, before.ramp_in, 0
        )
        return [*tiles[:-2], joined]
    return tiles


def reflected(start: int, stop: int, length: int) -> np.ndarray:
    """Indices of start..stop with those outside 0..length mirrored back inside.

    Mirrors without repeating the edge pixel, as often as needed.
    """
    i = np.arange(start, stop)
    if length == 1:
        return np.zeros_like(i)
    period = 2 * (length - 1)
    i = np.abs((i + (length - 1)) % period - (length - 1))
    return i


def grid(
    height: int, width: int, tile: int, margin: int, multiple: int, feather: int = FEATHER
) -> tuple[list[Span], list[Span]]:
    """Rows and columns of tiles of a picture; see `spans`."""
    return (
        spans(height, tile, margin, multiple, feather),
        spans(width, tile, margin, multiple, feather),
    )
