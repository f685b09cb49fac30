"""Measures a remover on photographs, where there is no truth."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage
from tqdm import tqdm

from nox_runtime.errors import NoxError
from nox_train.benchmark import crops, figures
from nox_train.benchmark.classical import detect, flattened
from nox_train.benchmark.measures import spread
from nox_train.benchmark.meter import Meter
from nox_train.benchmark.removers import NoxRemover, Remover, read_unit
from nox_train.benchmark.scene import Curve, automatic

#: A source counts from this many standard deviations of the input's background on.
SIGMAS = 10.0
#: A dark pit from this many on.
PIT_SIGMAS = 5.0
#: Width that sources are looked for with, in pixels.
FWHM = 3.0
#: Pictures whose automatic midtones balance is below this are linear.
LINEAR_MIDTONES = 0.06
#: Core of the brightest stars and annuli round it, in half-maximum radii.
ANNULI = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 10.0), (10.0, 16.0))
_SKY = (16.0, 24.0)
_BRIGHTEST = 10
_CANDIDATES = 1000
#: Tiles compared for seams, and the offset for removers whose tiles cannot be set.
TILES = (512, 1536)
_OFFSET = (67, 101)
_EDGE = 64
_SEAM_SIDE = 1152
#: Pictures that are looked over for seams: it takes two more runs on each.
_SEAM_PICTURES = 6
#: A bright star is left if its core keeps more than this share of its light.
_LEFT = 0.2


def is_linear(picture: np.ndarray) -> bool:
    """Whether a picture is linear light: its automatic stretch would be a strong one."""
    return bool(np.median(automatic(picture).strength) < LINEAR_MIDTONES)


def _shown(picture: np.ndarray, linear: bool) -> tuple[np.ndarray, Curve | None]:
    if not linear:
        return picture, None
    curve = automatic(picture)
    return np.asarray(curve.forward(picture), np.float32), curve


def background_noise(flat: np.ndarray, picture: np.ndarray) -> float:
    """Noise of a flattened picture, at least that of rounding to the picture's own steps.

    A ground of a single value, as in drawn or hard-clipped skies of 8 bits, has a scaled
    median absolute deviation of 0, and every step would be a source.  Rounding to steps
    of s has a standard deviation of s / sqrt(12).

    Parameters
    ----------
    flat : ndarray, shape (H, W)
        Mean channel less its slow background.
    picture : ndarray
        What it comes from, in the same units, channel by channel.
    """
    few = picture.ravel()[:: max(1, picture.size // 1_000_000)]
    values = np.unique(few[np.isfinite(few)]).astype(np.float64)
    step = float(np.diff(values).min()) if len(values) > 1 else 0.0
    return max(float(mad_std(flat)), step / 12**0.5, 1e-9)


def sources(flat: np.ndarray, threshold: float) -> int:
    """Sources of a star's width above a threshold, by DAOStarFinder (Stetson 1987)."""
    found = detect(flat, threshold, FWHM)
    return 0 if found is None else len(found)


def new_pits(before: np.ndarray, after: np.ndarray, changed: np.ndarray, sigma: float) -> int:
    """Dark pits that the remover made: holes of a star's shape where it changed pixels.

    DAOStarFinder on the negative, in pixels that changed, above `PIT_SIGMAS`; what was
    as dark in the input, within 2 px and to half the depth, is no fault of the remover.
    """
    found = detect(-after, PIT_SIGMAS * sigma, FWHM)
    if found is None:
        return 0
    was = ndimage.maximum_filter(-before, 5)
    h, w = after.shape
    rows = np.rint(found["y"]).astype(int).clip(0, h - 1)
    columns = np.rint(found["x"]).astype(int).clip(0, w - 1)
    deep = np.asarray(-after)[rows, columns]
    new = changed[rows, columns] & (was[rows, columns] < 0.5 * deep)
    return int(new.sum())


def grain(shown: np.ndarray, changed: np.ndarray) -> float | None:
    """Grain inside the footprint over grain in the 8 px around it, in the output."""
    near = ndimage.binary_dilation(changed, iterations=10)
    ring = near & ~ndimage.binary_dilation(changed, iterations=2)
    if changed.sum() < 500 or ring.sum() < 500:
        return None
    rough = figures.high_pass(shown)
    outside = float(mad_std(rough[ring]))
    return float(mad_std(rough[changed])) / outside if outside > 0 else None


def brightest(picture: np.ndarray, sigma: float) -> list[tuple[float, float, float]]:
    """The brightest stars, saturated or not: x, y and half-maximum radius, in pixels.

    Local maxima at least 15 px apart whose part above half maximum is round and filled,
    ordered by peak times area.
    """
    soft = ndimage.gaussian_filter(picture, 1.5)
    sky = float(np.median(picture))
    tops = (soft == ndimage.maximum_filter(soft, 31)) & (soft - sky > SIGMAS * sigma)
    found: list[tuple[float, float, float, float]] = []
    # A saturated star's flat top is one maximum, not as many as it has pixels.
    marks, count = ndimage.label(tops, np.ones((3, 3)))
    centres = np.array(ndimage.center_of_mass(tops, marks, np.arange(1, count + 1)))
    peaks = [tuple(np.rint(c).astype(int)) for c in centres]
    peaks.sort(key=lambda p: -soft[p])
    for y, x in peaks[:_CANDIDATES]:
        place = crops.window(float(x), float(y), picture.shape, 121)
        part = soft[place] - sky
        middle = (int(y) - place[0].start, int(x) - place[1].start)
        labels, _ = ndimage.label(part >= 0.5 * part[middle])
        mine = labels == labels[middle]
        box = ndimage.find_objects(mine.astype(int))[0]
        h, w = mine[box].shape
        area = int(mine.sum())
        if area > 0.6 * h * w and max(h, w) <= 1.5 * min(h, w) + 1:
            cy, cx = ndimage.center_of_mass(mine)
            radius = float(np.sqrt(area / np.pi))
            x_, y_ = place[1].start + float(cx), place[0].start + float(cy)
            found.append((float(part[middle]) * area, x_, y_, radius))
    return [(x, y, radius) for _, x, y, radius in sorted(found, reverse=True)]


def halos(before: np.ndarray, after: np.ndarray, sigma: float) -> list[dict]:
    """Profiles round the brightest stars: what glow is left, in sigma of the grain.

    Medians of input and output in `ANNULI` round each star, less the median of its
    surroundings; the unit of radius is the star's own half-maximum radius in the input.

    Parameters
    ----------
    before, after : ndarray, shape (H, W)
        Mean channel of input and output, display scale.
    sigma : float
        Grain of a pixel of the input.
    """
    h, w = before.shape
    out: list[dict] = []
    for x, y, radius in brightest(before, sigma):
        reach = _SKY[1] * radius
        if not (reach < x < w - reach - 1 and reach < y < h - reach - 1):
            continue
        if any(np.hypot(x - o["x"], y - o["y"]) < ANNULI[-1][1] * radius for o in out):
            continue
        y0, y1, x0, x1 = (int(v) for v in (y - reach, y + reach + 1, x - reach, x + reach + 1))
        yy, xx = np.mgrid[y0:y1, x0:x1]
        far = np.hypot(yy - y, xx - x) / radius
        rings = {}
        for name, picture in (("before", before), ("after", after)):
            part = picture[y0:y1, x0:x1]
            sky = np.median(part[(far >= _SKY[0]) & (far < _SKY[1])])
            rings[name] = [
                float((np.median(part[(far >= a) & (far < b)]) - sky) / sigma) for a, b in ANNULI
            ]
        out.append({"x": x, "y": y, "radius": radius, "before": rings["before"],
                    "profile": rings["after"]})  # fmt: skip
        if len(out) == _BRIGHTEST:
            break
    return out


def stars_left(found: list[dict]) -> int:
    """How many of the stars that `halos` found still have a fifth of their core's light."""
    return sum(star["profile"][0] > _LEFT * star["before"][0] for star in found)


def removed(
    remover: Remover, picture: np.ndarray, linear: bool | None, eight_bit: bool
) -> np.ndarray:
    """What a remover makes of a photograph; nox of the whole numbers that it would read."""
    if isinstance(remover, NoxRemover):
        if eight_bit:
            levels = np.rint(picture * 255).astype(np.uint8)
            return np.asarray(remover.remove(levels, None), np.float32) / 255
        linear = None
    return np.asarray(remover.remove(picture.copy(), linear), np.float32)


def seams(remover: Remover, picture: np.ndarray, linear: bool, eight_bit: bool = False) -> dict:
    """Largest and 99.99th percentile of the change when tiles fall elsewhere.

    For nox tiles of 512 against 1536 px; for others the same picture with its upper left
    corner cut off, compared 64 px from the edges and further in.  Display scale.
    """
    _, h, w = picture.shape
    side = _SEAM_SIDE
    y, x = max(0, (h - side) // 2), max(0, (w - side) // 2)
    part = np.ascontiguousarray(picture[:, y : y + side, x : x + side])
    if isinstance(remover, NoxRemover):
        kind = f"tiles of {TILES[0]} against {TILES[1]}"
        a, b = (removed(remover.with_tile(t), part, linear, eight_bit) for t in TILES)
    else:
        kind = f"offset by {_OFFSET}"
        dy, dx = _OFFSET
        if min(part.shape[1:]) < 2 * _EDGE + max(_OFFSET) + 16:
            return {"kind": kind, "max": None, "p99.99": None}
        a = removed(remover, part, linear, eight_bit)
        a = a[:, _EDGE + dy : -_EDGE, _EDGE + dx : -_EDGE]
        cut = np.ascontiguousarray(part[:, dy:, dx:])
        b = removed(remover, cut, linear, eight_bit)[:, _EDGE:-_EDGE, _EDGE:-_EDGE]
    curve = automatic(part) if linear else None
    if curve is not None:
        offset = part.shape[1] - a.shape[1]
        assert offset >= 0
        a, b = curve.forward(a), curve.forward(b)
    change = np.abs(np.asarray(a, np.float64) - b).max(axis=0)
    return {
        "kind": kind, "max": float(change.max()), "p99.99": float(np.percentile(change, 99.99)),
    }  # fmt: skip


def measure(
    remover: Remover, path: Path, *, look_for_seams: bool = True
) -> tuple[dict, list[dict]]:
    """All figures of one photograph, and its crops.

    Raises
    ------
    NoxError
        The file is no picture, or the remover failed.
    """
    picture, eight_bit = read_unit(path)
    if len(picture) not in (1, 3):
        raise NoxError(f"{path}: has {len(picture)} channels; give a picture of 1 or 3")
    linear = not eight_bit and is_linear(picture)
    meter = Meter()
    with meter:
        made = removed(remover, picture, linear, eight_bit)
    if made.shape != picture.shape:
        raise NoxError(f"{path}: the remover made {made.shape} of {picture.shape}")
    seen, curve = _shown(picture, linear)
    shown = made if curve is None else np.asarray(curve.forward(made), np.float32)
    # Counting is done in the picture's own units, as astronomers do it.
    before, after = (flattened(p.mean(axis=0).astype(np.float64)) for p in (picture, made))
    sigma = background_noise(before, picture)
    count = sources(before, SIGMAS * sigma), sources(after, SIGMAS * sigma)
    changed = np.asarray(np.abs(shown - seen).max(axis=0) > figures.VISIBLE)
    grey_seen, grey_shown = (p.mean(axis=0).astype(np.float64) for p in (seen, shown))
    rough = max(float(mad_std(figures.high_pass(grey_seen))), 1e-4)
    pits = new_pits(flattened(grey_seen), flattened(grey_shown), changed, rough)
    gone = max(count[0] - count[1], 0)
    found = halos(grey_seen, grey_shown, rough)
    result = {
        "name": path.name,
        "shape": list(picture.shape),
        "linear": linear,
        "sources": count[0],
        "left": count[1],
        "left share": count[1] / count[0] if count[0] else None,
        "brightest": len(found),
        "brightest left": stars_left(found),
        "pits": pits,
        "pits per source removed": pits / gone if gone else None,
        "changed": float(changed.mean()),
        "grain ratio": grain(grey_shown, changed),
        "halos": found,
        "seconds": meter.seconds[0],
    }
    if look_for_seams:
        result["seam"] = seams(remover, picture, linear, eight_bit)
    return result, _crops(path, seen, shown, changed)


def _crops(path: Path, seen: np.ndarray, shown: np.ndarray, changed: np.ndarray) -> list[dict]:
    """The brightest star, and the fullest part of the picture."""
    grey = ndimage.gaussian_filter(seen.mean(axis=0), 2.0)
    y, x = np.unravel_index(int(np.argmax(grey)), grey.shape)
    sharp = np.abs(figures.high_pass(seen.mean(axis=0)))
    fy, fx = np.unravel_index(
        int(np.argmax(ndimage.uniform_filter(sharp, crops.SIDE))), sharp.shape
    )
    rows = []
    for kind, a, b in (("brightest star", x, y), ("fullest part", fx, fy)):
        place = crops.window(float(a), float(b), seen.shape)
        rows.append(
            {"scene": path.name, "kind": kind} | crops.crop(place, input=seen, output=shown)
        )
    return rows


def photographs(
    remover: Remover, paths: list[Path], *, quiet: bool = True
) -> tuple[dict, list[dict]]:
    """Measure a remover on photographs; those that fail are named, not fatal.

    Returns
    -------
    result : dict
        ``summary``, ``pictures`` and ``failed``.
    crops : list of dict
    """
    pictures, shown, failed = [], [], []
    watched = paths[:: -(-len(paths) // _SEAM_PICTURES) or 1]
    for path in tqdm(paths, desc=f"{remover.name}, photographs", unit="picture", disable=quiet):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # headers of other people's files
                row, rows = measure(remover, path, look_for_seams=path in watched)
        except (NoxError, ValueError) as error:  # too small for photutils, for instance
            failed.append({"name": path.name, "reason": str(error)})
            continue
        pictures.append(row)
        shown += rows
    return {"summary": summary(pictures), "pictures": pictures, "failed": failed}, shown


def summary(pictures: list[dict]) -> dict:
    """Figures of all photographs together."""
    profiles = [h["profile"] for p in pictures for h in p["halos"]]
    bright = sum(p["brightest"] for p in pictures)
    return {
        "pictures": len(pictures),
        "left share": spread(p["left share"] for p in pictures),
        "brightest left": sum(p["brightest left"] for p in pictures) / bright if bright else None,
        "pits per source removed": spread(p["pits per source removed"] for p in pictures),
        "grain ratio": spread(p["grain ratio"] for p in pictures),
        "changed": spread(p["changed"] for p in pictures),
        "seam": spread(p["seam"]["max"] for p in pictures if "seam" in p),
        "halo": [
            {"from": a, "to": b, "signed": spread(p[i] for p in profiles)}
            | spread(abs(p[i]) for p in profiles)
            for i, (a, b) in enumerate(ANNULI)
        ],
        "seconds per megapixel": spread(
            1e6 * p["seconds"] / (p["shape"][1] * p["shape"][2]) for p in pictures
        ),
    }
