"""Pictures from folders: any pictures, FITS maps, SIDD-Small sRGB and RENOIR."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.Image import DecompressionBombError

from nox_runtime.errors import NoxError
from nox_runtime.images import open_image
from nox_train.backgrounds import points

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2", ".fits.fz", ".fit.fz")
#: One source in this many is held out for validation, chosen by its name's hash.
HOLD_OUT_ONE_IN = 10
#: Crops tried on a photograph before it is given up for its points of light.
TRIES = 3
#: Where a crop holds points, those down to this height are mended too.
FAINT_THRESHOLD = 5.5

# SIDD: Data/<instance>_<scene>_<camera>_<ISO>_<shutter>_<kelvin>_<light>/ holds
# <instance>_GT_SRGB_<frame>.PNG and <instance>_NOISY_SRGB_<frame>.PNG.
_SIDD_FILE = re.compile(r"\d{4}_(GT|NOISY)_SRGB_\d{3}\.PNG", re.IGNORECASE)
_SIDD_SCENE = re.compile(r"\d{4}_(\d{3})_[A-Z0-9]+_\d+_\d+_\d+_[A-Z]", re.IGNORECASE)
# RENOIR, aligned: <camera>_Aligned/Batch_<n>/IMG_<number>Reference.bmp and ...Noisy.bmp.
_RENOIR_FILE = re.compile(r".*(Reference|Noisy)\.bmp", re.IGNORECASE)
_RENOIR_BATCH = re.compile(r"Batch_?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """A file that a background can be cut from.

    Attributes
    ----------
    path : Path
    source : str
        What it shows; pictures of one source are held out together.  'sidd:<scene>',
        'renoir:<batch>', or the file's name.
    kind : {'photograph', 'noisy', 'map'}
        'noisy': the noisy frame of a pair; 'map': FITS.
    """

    path: Path
    source: str
    kind: str


def describe(path: Path) -> Picture:
    """What a path says of its file; nothing is read."""
    path = Path(path)
    folder = path.parent.name
    if (file := _SIDD_FILE.fullmatch(path.name)) and (scene := _SIDD_SCENE.fullmatch(folder)):
        kind = "noisy" if file[1].upper() == "NOISY" else "photograph"
        return Picture(path, f"sidd:{scene[1]}", kind)
    if (file := _RENOIR_FILE.fullmatch(path.name)) and (batch := _RENOIR_BATCH.fullmatch(folder)):
        # By the batch's number alone: the cameras took turns at the same scenes.
        kind = "noisy" if file[1].lower() == "noisy" else "photograph"
        return Picture(path, f"renoir:{int(batch[1]):03d}", kind)
    kind = "map" if path.name.lower().endswith(FITS_ENDINGS) else "photograph"
    return Picture(path, path.name, kind)


def open_source(folder: Path, *, noisy: bool = False) -> list[Picture]:
    """List the pictures below a folder, whatever its layout.

    SIDD-Small sRGB and RENOIR are known by the names of their files and folders, at
    any depth and side by side with others.

    Parameters
    ----------
    folder : Path
    noisy : bool
        Whether the noisy frames of their pairs are wanted too.

    Returns
    -------
    list of Picture
        Sorted by path, so that a seed means the same everywhere; empty where there is
        no picture.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give one that holds pictures")
    endings = PICTURE_ENDINGS + FITS_ENDINGS
    files = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(endings) and p.is_file())
    found = [describe(p) for p in files if not p.name.startswith(".")]
    return [p for p in found if noisy or p.kind != "noisy"]


def is_held_out(path: Path) -> bool:
    """Whether a picture belongs to validation: decided for ever by its source's hash.

    The source is the scene of a SIDD picture, the batch of a RENOIR one, else the
    file's name.
    """
    digest = hashlib.sha256(describe(path).source.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HOLD_OUT_ONE_IN == 0


def list_pictures(folder: Path) -> list[Path]:
    """Paths of `open_source` without noisy frames."""
    return [p.path for p in open_source(folder)]


def read_picture(path: Path) -> np.ndarray:
    """Read a picture or a FITS map as RGB in the display range.

    Returns
    -------
    ndarray, shape (3, H, W), float32, values 0 to 1
        Whole numbers are divided by the largest of their type.  FITS maps and
        pictures of floats are scaled from their 1st to their 99.5th percentile, gaps
        filled with the lower one; one channel is repeated.

    Raises
    ------
    ValueError
        Where the file cannot be read as a picture.
    """
    path = Path(path)
    try:
        if path.name.lower().endswith(FITS_ENDINGS):
            return _spanned(_fits_plane(path)[None])
        return _photograph(path)
    except (OSError, ValueError, TypeError, SyntaxError, DecompressionBombError) as trouble:
        reason = " ".join(str(trouble).split()) or type(trouble).__name__
        raise ValueError(
            f"{path}: cannot be read as a picture ({reason}); take it out of the folder"
        ) from trouble


def _fits_plane(path: Path) -> np.ndarray:
    """The middle plane of the first HDU with an image."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        images = (h for h in hdus if getattr(h, "is_image", False))
        data = next((h.data for h in images if h.data is not None and h.data.ndim >= 2), None)
        if data is None:
            raise ValueError("no HDU holds an image")
        while data.ndim > 2:
            data = data[len(data) // 2]
        return np.asarray(data, np.float64)


def _spanned(data: np.ndarray) -> np.ndarray:
    """Floats (C, H, W) scaled from their 1st to their 99.5th percentile, as RGB."""
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        raise ValueError("it holds no number")
    low, high = np.percentile(finite, [1, 99.5])
    scaled = np.nan_to_num((data - low) / max(high - low, 1e-12), nan=0.0, posinf=1.0, neginf=0.0)
    return _as_rgb(scaled.clip(0, 1).astype(np.float32))


def _as_rgb(data: np.ndarray) -> np.ndarray:
    """One channel three times; three as they are."""
    return np.ascontiguousarray(np.broadcast_to(data, (3, *data.shape[1:])))


def _photograph(path: Path) -> np.ndarray:
    """A picture at the depth that it is stored in."""
    data = _stored(path)
    if data.dtype.kind in "ui" and data.dtype.itemsize <= 2:
        return _as_rgb(data.astype(np.float32) / np.iinfo(data.dtype).max)
    return _spanned(data.astype(np.float64))


def _stored(path: Path) -> np.ndarray:
    """Samples (C, H, W) of one channel or three."""
    from PIL import Image

    if path.suffix.lower() in (".tif", ".tiff", ".png"):  # Pillow makes 8 bits of deep colour
        try:
            with open_image(path) as source:
                _, height, width = source.shape
                return source.read(0, height, 0, width)
        except NoxError:  # palettes and the like
            pass
    with Image.open(path) as picture:
        return np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)


def crop(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a square out of a picture, shrunk when there is room for it.

    Shrinking removes compression blocks and the photograph's own sharp points;
    smaller pictures are continued by reflection.

    Returns
    -------
    ndarray, shape (3, size, size), float32
    """
    side = min(picture.shape[1:])
    factor = int(rng.integers(1, max(2, min(4, side // size) + 1)))
    if side >= 2 * size:
        factor = max(2, factor)
    want = min(size * factor, side)
    h, w = picture.shape[1:]
    y, x = rng.integers(0, h - want + 1), rng.integers(0, w - want + 1)
    cut = picture[:, y : y + want, x : x + want]
    if want != size * factor:
        pad = size - want
        cut = np.pad(cut, ((0, 0), (0, pad), (0, pad)), mode="symmetric")
    elif factor > 1:
        cut = cut.reshape(3, size, factor, size, factor).mean(axis=(2, 4))
    return np.ascontiguousarray(cut, np.float32)


def star_free_crop(
    picture: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray | None, dict]:
    """A crop without points of light: a few are mended, a crop of many thrown away.

    Returns
    -------
    crop : ndarray, shape (3, size, size), float32, or None
        None where `TRIES` crops all held too many points: the picture shows stars.
    parameters : dict
        ``rejected``: crops thrown away; ``mended``: points painted over.
    """
    for tried in range(TRIES):
        cut = crop(picture, size, rng)
        found = points.find_points(cut)
        # Where one crop was full of stars, a few in the next are stars as well, and
        # fainter ones stand beside them.
        if points.too_many(found, cut.shape, share=1 / 8 if tried else 1.0):
            continue
        if len(found):
            found = points.find_points(cut, FAINT_THRESHOLD)
            cut = points.mend(cut, found, rng)
        return cut, {"rejected": tried, "mended": len(found)}
    return None, {"rejected": TRIES, "mended": 0}
