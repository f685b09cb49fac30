"""What is measured, on plain arrays of the display scale.

`error` is always output - truth; ``left`` means light that should have gone.
"""

from __future__ import annotations

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage
from skimage.metrics import structural_similarity

#: Changes of the display scale smaller than this are hardly seen.
VISIBLE = 0.02
#: Star light below this, half a step of an 8-bit picture, is none.
DARK = 0.002
#: Pictures that agree to 16 bits are given this many decibels, not infinitely many.
BEST_PSNR = 100.0
#: Parts of a picture smaller than this share of it get no figures of their own.
ENOUGH = 0.02
#: Largest error that a pixel adds to the background's bias, in standard deviations.
CLIP = 5.0
#: Annuli round saturated stars, in FWHM.
ANNULI = ((1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (5.0, 8.0), (8.0, 12.0))


def footprint(picture: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where stars are, and where they are not.

    Faint wings between the two belong to neither: stars are there, though hardly seen.

    Parameters
    ----------
    picture, truth : ndarray, shape (C, H, W)
        Display scale, with and without stars.

    Returns
    -------
    inside, outside : ndarray of bool, shape (H, W)
        Where star light changes a channel by more than `VISIBLE`, and where it changes
        none by more than `DARK`.
    """
    light = np.abs(picture - truth).max(axis=0)
    return np.asarray(light > VISIBLE), np.asarray(light <= DARK)


def enough(mask: np.ndarray) -> bool:
    """Whether a part of the picture is large enough for figures of its own: 2 %."""
    return bool(mask.mean() >= ENOUGH)


def bias(error: np.ndarray, sigma: np.ndarray) -> float:
    """Mean error of the background in standard deviations of its grain.

    Each pixel counts for at most `CLIP`, so that a deleted galaxy is no background.

    Parameters
    ----------
    error, sigma : ndarray, shape (n,)
    """
    return float(np.clip(error / sigma, -CLIP, CLIP).mean())


def psnr(error: np.ndarray) -> float | None:
    """Peak signal-to-noise ratio in decibels, at most `BEST_PSNR`; None without pixels."""
    if not error.size:
        return None
    mean = float(np.mean(np.square(error, dtype=np.float64)))
    return min(BEST_PSNR, -10 * float(np.log10(max(mean, 1e-30))))


def ssim_map(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each pixel, (H, W), mean of the channels.

    Gaussian weights of 1.5 px, data range 1 (Wang et al. 2004, IEEE TIP 13, 600).
    """
    full = structural_similarity(
        truth, made, data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )[1]  # fmt: skip
    return np.asarray(full.mean(axis=0))


def disc(radius: float) -> np.ndarray:
    """Pixels whose centres are within `radius` of the middle one, bool."""
    n = int(radius)
    yy, xx = np.mgrid[-n : n + 1, -n : n + 1]
    return np.asarray(yy * yy + xx * xx <= radius * radius)


def core_means(
    values: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a picture over the disc of each star.

    Parameters
    ----------
    values : ndarray, shape (H, W)
    x, y, radius : ndarray, shape (n,)
        In pixels.

    Returns
    -------
    means : ndarray, shape (n,)
    pixels : ndarray, shape (n,)
        How many pixels each disc has.
    """
    means, pixels = np.zeros(len(x)), np.ones(len(x))
    h, w = values.shape
    rows = np.floor(y + 0.5).astype(int).clip(0, h - 1)
    columns = np.floor(x + 0.5).astype(int).clip(0, w - 1)
    for r in np.unique(radius):
        mine = radius == r
        kernel = disc(float(r))
        soft = ndimage.convolve(
            np.asarray(values, np.float64), kernel / kernel.sum(), mode="nearest"
        )
        means[mine] = soft[rows[mine], columns[mine]]
        pixels[mine] = kernel.sum()
    return means, pixels


def noise_area(correlation: float) -> float:
    """Pixels that share one draw of noise that went through a Gaussian of this width."""
    return max(1.0, 4 * np.pi * correlation**2)


def removed(
    light: np.ndarray, left: np.ndarray, sigma: np.ndarray, pixels: np.ndarray, area: float,
    rough: np.ndarray | float = 0.0,
) -> np.ndarray:  # fmt: skip
    """Which stars count as removed.

    A star is removed if what is left in its core, on average, is no more than a quarter
    of what was there and no more than can be seen (3 sigma of a pixel's grain, or
    `VISIBLE`), give or take two standard deviations of that average and of the
    background's texture: nobody can know the grain and the pebbles under a star.

    Parameters
    ----------
    light, left : ndarray, shape (n,)
        Mean of input - truth and of output - truth over the star's core.
    sigma : ndarray, shape (n,)
        Local grain of a pixel.
    pixels : ndarray, shape (n,)
        Of the core.
    area : float
        `noise_area`.
    rough : ndarray, shape (n,), or float
        Local texture of the background on a star's scale; see `Scene.texture`.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    unsure = np.hypot(sigma * np.minimum(1.0, np.sqrt(area / pixels)), rough)
    allowed = np.minimum(0.25 * light, np.maximum(3 * sigma, VISIBLE))
    return np.asarray(left <= allowed + 2 * unsure)


def count_pits(
    error: np.ndarray, sigma: np.ndarray, near: np.ndarray, fwhm: float, area: float,
    rough: np.ndarray | float = 0.0,
) -> int:  # fmt: skip
    """Dark pits: places near stars that came out visibly too dark.

    The error is smoothed as a star would be (a Gaussian of `fwhm`); a pit is a connected
    patch of at least three pixels darker than the truth by `VISIBLE` and by 4 standard
    deviations of equally smoothed grain and of texture.

    Parameters
    ----------
    error, sigma : ndarray, shape (H, W)
        Output - truth of the mean channel, and the grain of a pixel.
    near : ndarray of bool, shape (H, W)
        Where to look: the footprint, widened.
    fwhm : float
        In pixels.
    area : float
        `noise_area`.
    rough : ndarray, shape (H, W), or float
        Local texture of the background on a star's scale; see `Scene.texture`.
    """
    width = max(1.0, fwhm / 2.3548)
    soft = ndimage.gaussian_filter(error, width)
    grain = sigma * min(1.0, np.sqrt(area / (4 * np.pi * width**2)))
    dark = near & (soft < -np.maximum(VISIBLE, 4 * np.hypot(grain, rough)))
    labels, n = ndimage.label(dark, np.ones((3, 3)))
    return int((np.bincount(labels.ravel(), minlength=n + 1)[1:] >= 3).sum())


def halo(
    error: np.ndarray, sigma: np.ndarray, x: float, y: float, fwhm: float
) -> list[float | None]:
    """Median of ``error / sigma`` in each of `ANNULI` round a star; None outside."""
    reach = int(np.ceil(ANNULI[-1][1] * fwhm))
    h, w = error.shape
    y0, x0 = max(0, int(y) - reach), max(0, int(x) - reach)
    ys, xs = slice(y0, min(h, int(y) + reach + 1)), slice(x0, min(w, int(x) + reach + 1))
    part = error[ys, xs] / sigma[ys, xs]
    yy, xx = np.mgrid[ys, xs]
    radius = np.hypot(yy - y, xx - x) / fwhm
    out: list[float | None] = []
    for low, high in ANNULI:
        inside = part[(radius >= low) & (radius < high)]
        out.append(float(np.median(inside)) if inside.size >= 12 else None)
    return out


def high_pass(picture: np.ndarray) -> np.ndarray:
    """A picture less its own Gaussian of 2 px: grain, and little else."""
    return np.asarray(picture - ndimage.gaussian_filter(picture, 2.0))


def grain_ratio(made: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float | None:
    """Grain of the output over that of the truth in the footprint, mean channel.

    Scaled median absolute deviations of the `high_pass`; None with fewer than 500
    pixels.  Below 1 the filling is too smooth.
    """
    if inside.sum() < 500:
        return None
    grain = float(mad_std(high_pass(truth)[inside]))
    return float(mad_std(high_pass(made)[inside])) / grain if grain > 0 else None


def tints(error: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Coloured discs: how far each disc's colour is off, on the display scale.

    The largest difference, over the channels, between a channel's mean error in the
    disc and the mean of the channels' mean errors.

    Parameters
    ----------
    error : ndarray, shape (3, H, W)
    x, y, radius : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    means = np.stack([core_means(channel, x, y, radius)[0] for channel in error])
    return np.asarray(np.abs(means - means.mean(axis=0)).max(axis=0, initial=0.0))


def untouched(given: np.ndarray, made: np.ndarray, where: np.ndarray) -> float | None:
    """Share of the pixels of `where` that came back the same to 16 bits, every channel.

    Parameters
    ----------
    given, made : ndarray, shape (C, H, W)
        0 to 1, in the units that the remover was given.
    where : ndarray of bool, shape (H, W)
    """
    if not where.any():
        return None
    same = (np.abs(made - given) <= 0.5 / 65535).all(axis=0)
    return float(same[where].mean())
