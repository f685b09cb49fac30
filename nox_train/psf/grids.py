"""Grids of pixels and sub-pixels, and what is done on all of them."""

from __future__ import annotations

import numpy as np
from scipy import fft


def offsets(size: int, oversample: int = 1) -> np.ndarray:
    """Positions of sub-pixel centres relative to the centre of pixel ``size // 2``, in pixels."""
    return (np.arange(size * oversample) + 0.5) / oversample - 0.5 - size // 2


def middle(size: int, oversample: int = 1) -> float:
    """Index, maybe a half, at which `offsets` is 0."""
    return size // 2 * oversample + (oversample - 1) / 2


def bin_pixels(image: np.ndarray, factor: int) -> np.ndarray:
    """Sum blocks of ``factor`` x ``factor``: the integration over a pixel."""
    if factor == 1:
        return image
    h, w = image.shape
    return image.reshape(h // factor, factor, w // factor, factor).sum(axis=(1, 3))


def normalised(image: np.ndarray) -> np.ndarray:
    """Scale an array so that its sum is 1."""
    return image / image.sum()


def radius(size: int, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """Distance of pixel centres from the point (`dx`, `dy`) off the middle, in pixels."""
    xs = np.arange(size) - size // 2
    return np.hypot(xs[None, :] - dx, xs[:, None] - dy)


def frequencies(n: int, oversample: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies of ``rfft2``'s half plane along x and y, in cycles a pixel."""
    return (
        fft.rfftfreq(n)[None, :] * oversample,
        fft.fftfreq(n)[:, None] * oversample,
    )


def deposit(n: int, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Points on a periodic grid whose origin is index 0, shared by four neighbours each."""
    bx, by = np.floor(x).astype(int), np.floor(y).astype(int)
    tx, ty = x - bx, y - by
    out = np.zeros(n * n)
    for iy, wy in ((by, 1 - ty), (by + 1, ty)):
        for ix, wx in ((bx, 1 - tx), (bx + 1, tx)):
            out += np.bincount(iy % n * n + ix % n, weight * wx * wy, minlength=n * n)
    return out.reshape(n, n)


def convolve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular convolution of two arrays with their centres at ``size // 2``."""
    spectrum = fft.rfft2(fft.ifftshift(a)) * fft.rfft2(fft.ifftshift(b))
    return np.maximum(fft.fftshift(fft.irfft2(spectrum, s=a.shape)), 0.0)


def faded(image: np.ndarray, start: float = 0.7) -> np.ndarray:
    """Fade to nothing towards a circle, so that no square edge ever shows; sums to 1."""
    size = image.shape[-1]
    r = radius(size) / (size // 2 - 1)
    t = np.clip((r - start) / (1.0 - start), 0, 1)
    return normalised(image * 0.5 * (1 + np.cos(np.pi * t)))
