"""FITS files as napari layers: every image of the file, rows as they stand.

napari's own reader shows one plane of an RGB cube, turns the rows over and drops
the header.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from nox_napari.display import shown_like_stretched
from nox_runtime.errors import ImageError, reason
from nox_runtime.images import split_ending
from nox_runtime.images.encoding import Encoding
from nox_runtime.images.fits import ENDINGS, wcs_of
from nox_runtime.samples import sample

LayerData = tuple[Any, dict[str, Any], str]

#: Images of more bytes than this are read from the file as they are looked at.
LAZY_BYTES = 256 * 2**20
#: Side of the pieces of such an image, in pixels.
_CHUNK = 1024
#: Smallest side of the coarsest level of such an image.
_COARSE = 1024
#: Third axes that are no colours, whatever their length (first four letters).
_SPECTRAL = {"FREQ", "WAVE", "VELO", "VRAD", "VOPT", "ENER", "STOK", "TIME", "AWAV"}


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """npe2 reader: the function that reads this path, or None.

    Parameters
    ----------
    path : str or sequence of str
    """
    first = path if isinstance(path, (str, os.PathLike)) else path[0]
    return read if str(first).lower().endswith(ENDINGS) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Layers of a FITS file, or of several.

    Parameters
    ----------
    path : str or sequence of str

    Returns
    -------
    list of (data, settings, 'image')
        One for each image with two axes or more.  Data keep the file's row order and
        type of values (BZERO, BSCALE and BLANK applied): (H, W), (H, W, 3) for RGB
        cubes, (N, H, W) for stacks; over `LAZY_BYTES` dask arrays of several scales.
        Several files with one picture each, all alike, are one stack: napari hands several
        over where *Open Files as Stack* was chosen.
        ``metadata`` holds ``header``, ``wcs`` (celestial, or None), ``bunit`` and
        ``fits`` (path, HDU, whether the first row belongs at the bottom).

    Raises
    ------
    ImageError
        No FITS file, damaged, or without an image.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _stacked([read(one) for one in path])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd headers are the file's own affair
            return _layers(Path(path))
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError) as error:
        if isinstance(error, FileNotFoundError):
            raise ImageError(f"{path}: no such file; check the name") from error
        raise ImageError(
            f"{path}: not a readable FITS file ({reason(error)}); check that it is complete"
        ) from error


def _stacked(files: list[list[LayerData]]) -> list[LayerData]:
    """One layer of files that hold one picture each, all alike; else all their layers.

    It has the first file's header, but is no file's picture: saving it copies none.
    """
    pictures = [layers[0][0] for layers in files]
    if any(len(layers) != 1 for layers in files) or len(set(map(_form, pictures))) != 1:
        return [layer for layers in files for layer in layers]
    first, settings, kind = files[0][0]
    if len(files) == 1:
        return files[0]
    if isinstance(first, np.ndarray):
        data: Any = np.stack(pictures)
    else:
        import dask.array as da

        data = [da.stack(same) for same in zip(*pictures, strict=True)]
    known = {k: v for k, v in settings["metadata"].items() if k != "fits"}
    name = f"{settings['name']} and {len(files) - 1} more"
    return [(data, {**settings, "name": name, "metadata": known}, kind)]


def _form(picture: Any) -> tuple[Any, ...]:
    """What two layers' data must have in common to be stacked: kind, shapes and types."""
    levels = picture if isinstance(picture, list) else [picture]
    return (type(picture), *((level.shape, level.dtype) for level in levels))


def sample_nebula() -> list[LayerData]:
    """The picture that comes with nox."""
    return read(str(sample("nebula")))


@dataclass(frozen=True)
class _Image:
    """One image of a file, to be sliced; `shape` as in the file, slowest axis first."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fetch: Callable[[Any], np.ndarray]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.fetch(key)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded values."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def _unpacked(path: Path) -> bytes | None:
    """All bytes of a gzip or bzip2 file, None for others."""
    with open(path, "rb") as stream:
        start = stream.read(3)
    if start.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            return packed.read()
    if start == b"BZh":
        with bz2.open(path) as packed:
            return packed.read()
    return None


def _layers(path: Path) -> list[LayerData]:
    buffer = _unpacked(path)
    size = path.stat().st_size if buffer is None else len(buffer)
    # Not closed: lazy layers of compressed images go on reading from it.
    hdus = fits.open(path if buffer is None else io.BytesIO(buffer), memmap=False)
    found = []
    for index, hdu in enumerate(hdus):
        if not getattr(hdu, "is_image", False) or _bare_axes(hdu.header) is None:
            continue
        if isinstance(hdu, fits.CompImageHDU):
            image = _compressed(hdu)
        else:
            image = _plain(path, buffer, size, hdus.fileinfo(index)["datLoc"], hdu.header)
        found.append((index, hdu, image))
    if not found:
        raise ImageError(f"{path}: a FITS file without an image; give one that holds a picture")
    layers = [_layer(path, *one, alone=len(found) == 1) for one in found]
    if all(isinstance(data, np.ndarray) for data, _, _ in layers):
        hdus.close()
    return layers


def _bare_axes(header: fits.Header) -> tuple[int, ...] | None:
    """Axes of an image, slowest first, without those of length 1 before the last two."""
    shape = [int(header[f"NAXIS{i}"]) for i in range(header.get("NAXIS", 0), 0, -1)]
    if len(shape) < 2 or min(shape) < 1:
        return None
    return (*(n for n in shape[:-2] if n > 1), *shape[-2:])


def _plain(path: Path, buffer: bytes | None, size: int, start: int, header: fits.Header) -> _Image:
    encoding, shape = Encoding.of(header), _bare_axes(header)
    assert shape is not None
    need = int(np.prod(shape)) * encoding.raw_dtype.itemsize
    if size < start + need:
        raise ImageError(
            f"{path}: truncated (its header promises {need} bytes of pixels); "
            "make or fetch the file again"
        )
    raw: np.ndarray
    if buffer is None:
        raw = np.memmap(path, encoding.raw_dtype, "r", offset=start, shape=shape)
    else:
        raw = np.ndarray(shape, encoding.raw_dtype, buffer, start)
    return _Image(shape, encoding.dtype, lambda key: encoding.decode(np.asarray(raw[key])))


def _compressed(hdu: Any) -> _Image:
    header, shape = hdu.header, _bare_axes(hdu.header)
    assert shape is not None
    naxis = int(header["NAXIS"])
    kept = [a for a in range(naxis) if a >= naxis - 2 or int(header[f"NAXIS{naxis - a}"]) > 1]
    dtype = np.dtype(hdu.section[(0,) * naxis].dtype).newbyteorder("=")

    def fetch(key: Any) -> np.ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            keys = ()
        full: list[Any] = [0] * naxis
        for axis, k in zip(kept, keys + (slice(None),) * (len(kept) - len(keys)), strict=True):
            full[axis] = k
        return np.asarray(hdu.section[tuple(full)]).astype(dtype, copy=False)

    return _Image(shape, dtype, fetch)


def _layer(path: Path, index: int, hdu: Any, image: _Image, *, alone: bool) -> LayerData:
    header = hdu.header.copy()
    wcs = wcs_of(header)
    rgb = image.ndim == 3 and image.shape[0] == 3
    rgb = rgb and str(header.get("CTYPE3", "")).upper()[:4] not in _SPECTRAL
    data: Any = image[...] if image.nbytes <= LAZY_BYTES else _lazy(image, rgb)
    if rgb and isinstance(data, np.ndarray):
        data = np.moveaxis(data, 0, -1)
    name = split_ending(path)[0]
    if not alone:
        name += f" [{hdu.name or index}]"
    settings = {
        "name": name,
        "rgb": rgb,
        "metadata": {
            "header": header,
            "wcs": wcs.celestial if wcs is not None else None,
            "bunit": header.get("BUNIT"),
            "fits": {"path": str(path), "hdu": index, "bottom_up": _bottom_up(header)},
        },
        **shown_like_stretched(_sampled(image, rgb)),
    }
    if isinstance(data, list):
        settings["multiscale"] = True
    return data, settings, "image"


def _sampled(image: _Image, rgb: bool, limit: int = 1_000_000) -> np.ndarray:
    """A sparse (C, h, w) of the picture, of a stack's middle plane."""
    step = max(1, int(np.ceil(np.sqrt(np.prod(image.shape[-2:]) / limit))))
    grid = (slice(None, None, step), slice(None, None, step))
    if rgb:
        return image[(slice(None), *grid)]
    return image[(*(n // 2 for n in image.shape[:-2]), *grid)][None]


def _lazy(image: _Image, rgb: bool) -> list[Any]:
    """Dask arrays that read the file where they are looked at, finest first."""
    import dask.array as da

    lead = image.shape[0] if rgb else 1
    chunks = (*((lead,) * (image.ndim - 2)), _CHUNK, _CHUNK)
    whole = da.from_array(image, chunks=chunks, lock=True, asarray=False, meta=_meta(image))
    levels, step = [], 1
    while True:
        # Every step-th pixel: averaging would read the whole file to show an overview.
        level = whole[..., ::step, ::step]
        levels.append(da.moveaxis(level, 0, -1) if rgb else level)
        step *= 2
        if max(image.shape[-2:]) // step < _COARSE:
            return levels


def _meta(image: _Image) -> np.ndarray:
    return np.empty((0,) * image.ndim, image.dtype)


def _bottom_up(header: fits.Header) -> bool:
    """Whether the first row belongs at the bottom: as FITS has it, unless ROWORDER says no."""
    return str(header.get("ROWORDER", "")).upper().strip() != "TOP-DOWN"
