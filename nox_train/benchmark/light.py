"""Star and galaxy light, rendered by galsim (Rowe et al. 2015, A&C 10, 121)."""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np

from nox_train.benchmark.grid import Spec

#: Effective wavelengths of red, green and blue filters, in micrometres.
_WAVELENGTHS = (0.63, 0.53, 0.46)
#: Second radiation constant, micrometre kelvin (CODATA 2018).
_HC_OVER_K = 14387.77
#: Samples of the point spread function's picture, on a side.
_SAMPLES = 1024
#: Light below this many standard deviations of the noise is not drawn.
_NEGLIGIBLE = 0.02
#: Accuracy of galsim's transforms: less of the light than this is folded back.
_PARAMETERS = galsim.GSParams(folding_threshold=2e-3, maximum_fft_size=16384)


@dataclass(frozen=True)
class PointSpread:
    """A point spread function, through the pixel, finer than the pixels.

    Attributes
    ----------
    samples : ndarray, shape (C, n, n)
        Light of a star of flux 1 in a pixel centred on each sample.
    step : int
        Samples a pixel; stars stand on this finer grid.
    fwhm : float
        Measured: diameter of the circle with the area above half maximum, in pixels.
    facts : dict
        What it was made of.
    """

    samples: np.ndarray
    step: int
    fwhm: float
    facts: dict

    def profile(self) -> np.ndarray:
        """Brightest mean-channel sample at each whole radius in pixels, outwards."""
        mean = self.samples.mean(axis=0)
        n = mean.shape[0]
        yy, xx = np.mgrid[:n, :n] - n // 2
        radius = np.hypot(yy, xx).astype(int) // self.step
        out = np.zeros(radius.max() + 1)
        np.maximum.at(out, radius.ravel(), mean.ravel())
        return np.maximum.accumulate(out[::-1])[::-1]


def _optics(spec: Spec, rng: np.random.Generator) -> tuple[list[list[galsim.GSObject]], dict]:
    """Core, wings and reflection of each channel, in pixels, and their facts."""
    channels = 1 if spec.mono else 3
    wavelengths = (0.55,) if spec.mono else _WAVELENGTHS
    facts: dict = {"vanes": spec.vanes}
    beta = float(rng.uniform(2.4, 4.8))
    ellipse = galsim.Shear(
        g=float(rng.choice([0.0, rng.uniform(0.01, 0.1)])),
        beta=float(rng.uniform(0, 180)) * galsim.degrees,
    )
    turn = float(rng.uniform(0, 90))
    obscuration, thick = float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.012, 0.03))
    coma, astigmatism = (float(v) for v in rng.normal(0, 0.03, 2))
    glow, glow_width = float(rng.uniform(0.0, 0.04)), float(rng.uniform(4, 9))
    disc = float(rng.choice([0.0, rng.uniform(0.001, 0.004)]))
    disc_radius = float(rng.uniform(10, 40))
    fringe = float(rng.uniform(0.0, 0.3))
    profiles = []
    for c in range(channels):
        ratio = wavelengths[c] / 0.53
        wide = 1.0 + fringe * 0.4 * abs(c - 1)
        if spec.vanes:
            air = galsim.Kolmogorov(fwhm=0.85 * spec.fwhm * wide * ratio**-0.2)
            pupil = galsim.OpticalPSF(
                lam_over_diam=0.3 * spec.fwhm * ratio, obscuration=obscuration,
                nstruts=spec.vanes, strut_thick=thick, strut_angle=turn * galsim.degrees,
                coma1=coma, astig1=astigmatism, oversampling=1.0, pad_factor=1.0,
                gsparams=_PARAMETERS,
            )  # fmt: skip
            core = galsim.Convolve(air, pupil, gsparams=_PARAMETERS)
        else:
            core = galsim.Moffat(beta=beta, fwhm=spec.fwhm * wide * ratio**-0.2).shear(ellipse)
        shift = fringe * (c - 1) if channels == 3 else 0.0
        wings = galsim.Moffat(beta=1.8, fwhm=glow_width * spec.fwhm) * max(glow, 1e-9)
        parts = [core * (1 - glow - disc), wings, galsim.TopHat(radius=disc_radius) * disc]
        profiles.append([part.shift(shift, 0.6 * shift) for part in parts])
    facts |= {
        "kind": "pupil" if spec.vanes else "moffat", "beta": beta, "ellipticity": ellipse.g,
        "obscuration": obscuration, "glow": glow, "disc": disc, "fringe": fringe,
    }  # fmt: skip
    return profiles, facts


def point_spread(spec: Spec, rng: np.random.Generator) -> PointSpread:
    """Draw a telescope and its air, and render a star through both.

    Without vanes a Moffat profile, with them diffraction at a pupil with obstruction,
    vanes, coma and astigmatism, blurred by Kolmogorov turbulence; a wide glow round
    both, often a reflection's disc, and in colour pictures a width and a place of its
    own for each channel.

    Parameters
    ----------
    spec : Spec
    rng : numpy.random.Generator

    Returns
    -------
    PointSpread
    """
    profiles, facts = _optics(spec, rng)
    step = 4 if spec.fwhm < 2.2 else 2
    side = _SAMPLES + 1

    def drawn(profile: galsim.GSObject) -> np.ndarray:
        """Samples of a profile, in light a pixel."""
        picture = profile.drawImage(
            nx=side, ny=side, scale=1 / step, method="no_pixel", dtype=float
        )
        return np.maximum(picture.array, 0.0) * step**2

    rows = []
    for core, wings, disc in profiles:
        # Wings and disc are even across a pixel: no need to convolve them with it, which
        # would take transforms of enormous size.
        through = galsim.Convolve(core, galsim.Pixel(1.0), gsparams=_PARAMETERS)
        rows.append(drawn(through) + drawn(wings) + drawn(disc))
    samples = np.stack(rows)
    # Wings end softly at the picture's edge: a square edge would be seen round a star.
    yy, xx = np.mgrid[:side, :side] - _SAMPLES // 2
    reach = np.hypot(yy, xx) / (_SAMPLES // 2)
    samples *= np.clip((1.0 - reach) / 0.25, 0.0, 1.0)
    mean = samples.mean(axis=0)
    fwhm = float(2.0 * np.sqrt((mean >= 0.5 * mean.max()).sum() / np.pi) / step)
    return PointSpread(samples, step, fwhm, facts)


def add_star(
    picture: np.ndarray, psf: PointSpread, x: float, y: float, flux: np.ndarray, radius: int
) -> None:
    """Add a star to a picture in place.

    Parameters
    ----------
    picture : ndarray, shape (C, H, W)
    psf : PointSpread
    x, y : float
        On the finer grid: whole numbers of ``1 / psf.step`` pixels.
    flux : ndarray, shape (C,)
    radius : int
        Of the square that is drawn, in pixels.
    """
    step, centre = psf.step, psf.samples.shape[1] // 2
    row, column = round(y * step), round(x * step)
    py, px = row // step, column // step
    # Sample under pixel p: centre + p * step - position on the finer grid.
    low = -((centre - step) // step)
    h, w = picture.shape[1:]
    y0, y1 = max(0, py + max(low, -radius)), min(h, py + min(-low, radius) + 1)
    x0, x1 = max(0, px + max(low, -radius)), min(w, px + min(-low, radius) + 1)
    if y0 >= y1 or x0 >= x1:
        return
    ys = slice(centre + y0 * step - row, centre + (y1 - 1) * step - row + 1, step)
    xs = slice(centre + x0 * step - column, centre + (x1 - 1) * step - column + 1, step)
    picture[:, y0:y1, x0:x1] += flux[:, None, None] * psf.samples[:, ys, xs]


def reaches(psf: PointSpread, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """How far out a star must be drawn: fluxes, ascending, and the radius of each."""
    profile = np.maximum(psf.profile(), 1e-30)
    radii = np.arange(1, len(profile) + 1)
    return _NEGLIGIBLE * sigma / profile, radii


def star_colours(n: int, mono: bool, rng: np.random.Generator) -> np.ndarray:
    """Relative fluxes of the channels, (C, n), their mean 1: Planck's law in photons."""
    if mono:
        return np.ones((1, n))
    kelvin = np.clip(5600.0 * np.exp(rng.normal(0, 0.35, n)), 2400, 25000)
    wavelength = np.array(_WAVELENGTHS)[:, None]

    def photons(t: np.ndarray) -> np.ndarray:
        return wavelength**-4 / np.expm1(_HC_OVER_K / (wavelength * t))

    colour = photons(kelvin[None, :]) / photons(np.full((1, 1), 5600.0))
    return np.asarray(colour / colour.mean(axis=0))


def galaxy(kind: str, fwhm: float, rng: np.random.Generator) -> np.ndarray:
    """Render a galaxy or a knot of flux 1, blurred as the stars are.

    Parameters
    ----------
    kind : {'galaxy', 'knot', 'planetary'}
        A Sersic bulge in an exponential disc; a soft clump of a nebula; the even disc
        of a planetary nebula.  Galaxies are at least 1.5 times
        as wide as a star, the others twice.
    fwhm : float
        Of the stars, in pixels.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, n), float64
        n is odd.
    """
    tilt = float(rng.uniform(0, 180)) * galsim.degrees
    if kind == "galaxy":
        radius = float(fwhm * 10 ** rng.uniform(0.2, 0.8))
        share = float(rng.uniform(0.05, 0.5))
        bulge = galsim.Sersic(
            n=float(rng.uniform(1.5, 3.5)), half_light_radius=0.35 * radius, trunc=4 * radius
        )
        disc = galsim.Exponential(half_light_radius=radius)
        axis = float(rng.uniform(0.25, 0.95))
        profile = bulge * share + disc.shear(q=axis, beta=tilt) * (1 - share)
    elif kind == "knot":
        radius = float(fwhm * rng.uniform(1.0, 2.5))
        clumps = [galsim.Gaussian(half_light_radius=radius)]
        for _ in range(int(rng.integers(1, 4))):
            dx, dy = rng.normal(0, 1.2 * radius, 2)
            part = galsim.Gaussian(half_light_radius=radius * float(rng.uniform(0.8, 1.6)))
            clumps.append(part.shift(float(dx), float(dy)) * float(rng.uniform(0.2, 0.9)))
        profile = galsim.Sum(clumps)
    elif kind == "planetary":
        radius = float(fwhm * rng.uniform(1.3, 4.0))
        inner = galsim.TopHat(radius=0.55 * radius) * float(-0.3 * rng.uniform(0.0, 0.8))
        profile = galsim.TopHat(radius=radius) + inner
    else:
        raise ValueError(f"kind is {kind!r}; it must be 'galaxy', 'knot' or 'planetary'")
    blurred = galsim.Convolve(profile, galsim.Kolmogorov(fwhm=fwhm), galsim.Pixel(1.0))
    side = 2 * int(np.ceil(5 * radius + 2 * fwhm)) + 1
    drawn = np.maximum(
        blurred.drawImage(nx=side, ny=side, scale=1.0, method="no_pixel", dtype=float).array, 0.0
    )
    yy, xx = np.mgrid[:side, :side] - side // 2
    drawn *= np.clip((1.0 - np.hypot(yy, xx) / (side // 2)) / 0.3, 0.0, 1.0)
    return np.asarray(drawn / drawn.sum())
