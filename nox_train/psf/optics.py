"""A telescope, a night and a camera as one record, and its point spread function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import fft

from nox_train.psf import motion
from nox_train.psf.diffraction import bands
from nox_train.psf.grids import bin_pixels, deposit, faded, frequencies, middle, normalised
from nox_train.psf.scatter import Halo, aureole, microlens, reflection
from nox_train.psf.seeing import kolmogorov_otf, moffat, moffat_samples

#: Effective wavelengths of red, green and blue camera filters, in micrometres.
RGB_WAVELENGTHS_UM = (0.610, 0.530, 0.465)
#: Emission lines of narrowband filters, in micrometres: sulphur II, hydrogen alpha, oxygen III.
LINES_UM = {"S": 0.6724, "H": 0.6563, "O": 0.5007}
#: What a round aperture is made of.
_ROUND = (
    "obstruction", "vanes", "vane_width", "vane_angle", "vane_bend", "vane_offset", "blades",
    "blade_angle", "blade_errors", "clips",
)  # fmt: skip


@dataclass(frozen=True)
class Optics:
    """Everything `colour_psf` needs, drawn once for a star field.

    Lengths are in pixels, angles in radians from +x towards +y, wavefront errors in
    waves (root mean square) of the second channel's wavelength; tuples of three hold
    a value for each of red, green and blue.  Wavefront errors, of the whole field as
    of its corners, act where `lambda_over_d` is greater than 0.

    Attributes
    ----------
    fwhm, beta, ellipticity, angle
        Seeing and guiding, as for `moffat`.
    seeing : {"moffat", "kolmogorov"}
        Kolmogorov's profile has no `beta`.
    outer_scale : float
        L0 over r0 (see `kolmogorov_otf`), 0 for none.
    width_ratio : tuple of float
        Width of each channel over `fwhm`.
    shift : tuple of (float, float)
        Of each channel's stars.
    wavelengths_um, bandwidth : tuple of float
        Middle of each channel's passband, and its full width over its middle.
    lambda_over_d : float
        Diffraction: second channel's wavelength over the aperture; 0 leaves it out.
    aperture : {"round", "hexagons", "bahtinov"}
        A function of `nox_train.psf.pupils`; its arguments are the following
        (those up to `clips` are for "round", `aperture_angle` for the others).
    obstruction, vanes, vane_width, vane_angle, vane_bend, vane_offset, blades, blade_angle,
    blade_errors, clips
        As for `pupil`.
    aberrations : dict
        By Zernike term, over the whole field.
    chromatic_defocus : tuple of float
        Defocus of each channel besides.
    position : tuple of float
        In the frame: (0, 0) is its centre, -1 and 1 are its edges.  See `at`.
    field_coma, field_astigmatism, field_curvature : float
        At distance 1 from the centre; they grow with its first, second and second
        power, coma and astigmatism along the radius.
    field_tilt : tuple of float
        Defocus at the right and lower edges of a tilted sensor.
    field_colour : float
        Lateral colour: radial shift of the first channel against the last, at 1.
    field_vignetting : float
        Cat's eye: shift of the barrel's edge over the diameter at 1, see `pupil`.
    field_rotation : float
        Length of the tangential trail at 1.
    trail, trail_angle, trail_bend, periodic_error, periodic_cycles, wind, wind_angle, jump,
    jump_angle, jump_share
        As for `nox_train.psf.motion`; the periodic error lies along the trail.
    aureole_share, aureole_exponent
        Scattered light, as for `aureole`.
    halos : tuple of Halo
        Reflections.
    fringe_share, fringe_width
        Light of each channel far out of focus, and the width (FWHM) of its blur over
        `fwhm`: the violet halo of an achromat.
    microlens_share, microlens_period, microlens_blur, microlens_blaze
        Replicas thrown by the sensor, as for `microlens`.
    """

    fwhm: float = 2.5
    beta: float = 3.5
    ellipticity: float = 0.0
    angle: float = 0.0
    seeing: str = "moffat"
    outer_scale: float = 0.0
    width_ratio: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3
    wavelengths_um: tuple[float, float, float] = RGB_WAVELENGTHS_UM
    bandwidth: tuple[float, float, float] = (0.18, 0.18, 0.18)
    lambda_over_d: float = 0.0
    aperture: str = "round"
    aperture_angle: float = 0.0
    obstruction: float = 0.0
    vanes: int = 0
    vane_width: float = 0.01
    vane_angle: float = 0.0
    vane_bend: float = 0.0
    vane_offset: float = 0.0
    blades: int = 0
    blade_angle: float = 0.0
    blade_errors: tuple[float, ...] = ()
    clips: tuple[tuple[float, float, float], ...] = ()
    aberrations: dict[str, float] = field(default_factory=dict)
    chromatic_defocus: tuple[float, float, float] = (0.0, 0.0, 0.0)
    position: tuple[float, float] = (0.0, 0.0)
    field_coma: float = 0.0
    field_astigmatism: float = 0.0
    field_curvature: float = 0.0
    field_tilt: tuple[float, float] = (0.0, 0.0)
    field_colour: float = 0.0
    field_vignetting: float = 0.0
    field_rotation: float = 0.0
    trail: float = 0.0
    trail_angle: float = 0.0
    trail_bend: float = 0.0
    periodic_error: float = 0.0
    periodic_cycles: float = 1.0
    wind: float = 0.0
    wind_angle: float = 0.0
    jump: float = 0.0
    jump_angle: float = 0.0
    jump_share: float = 0.2
    aureole_share: float = 0.02
    aureole_exponent: float = 2.5
    halos: tuple[Halo, ...] = ()
    fringe_share: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fringe_width: float = 4.0
    microlens_share: float = 0.0
    microlens_period: float = 60.0
    microlens_blur: float = 1.5
    microlens_blaze: float = 2.5

    def at(self, x: float, y: float) -> Optics:
        """The same optics at another place of the frame (-1 to 1 along both axes)."""
        return replace(self, position=(float(x), float(y)))

    def through(self, palette: str, bandwidth: float = 0.01) -> Optics:
        """The same optics behind narrowband filters, as "SHO" or "HOO"; one letter is mono.

        Spikes and rings are then beaded, and their sizes are those of the lines.
        """
        if len(palette) not in (1, 3) or set(palette) - set(LINES_UM):
            raise ValueError(f"palette is {palette!r}; it must be one or three letters of S, H, O")
        a, b, c = (LINES_UM[line] for line in (palette if len(palette) == 3 else 3 * palette))
        return replace(self, wavelengths_um=(a, b, c), bandwidth=(bandwidth,) * 3)

    def local_aberrations(self) -> list[dict[str, float]]:
        """Wavefront error of each channel at `position`, by Zernike term.

        Third-order theory: coma grows with the distance from the axis, astigmatism
        and curvature with its square (Welford, Aberrations of Optical Systems, ch. 7).
        """
        x, y = self.position
        tilted = self.field_tilt[0] * x + self.field_tilt[1] * y
        local = {
            "coma_x": self.field_coma * x,
            "coma_y": self.field_coma * y,
            "astigmatism_0": self.field_astigmatism * (x * x - y * y),
            "astigmatism_45": self.field_astigmatism * 2 * x * y,
            "defocus": self.field_curvature * (x * x + y * y) + tilted,
        }
        names = [*local, *(k for k in self.aberrations if k not in local)]
        terms = {k: local.get(k, 0.0) + self.aberrations.get(k, 0.0) for k in names}
        channels = [{**terms, "defocus": terms["defocus"] + d} for d in self.chromatic_defocus]
        return [{k: float(v) for k, v in c.items() if v} for c in channels]

    def local_shift(self) -> np.ndarray:
        """Shift of each channel at `position`, shape (3, 2), in pixels."""
        w = np.array(self.wavelengths_um)
        span = w[0] - w[2]
        along = self.field_colour * (w - w[1]) / span if span else np.zeros(3)
        return np.array(self.shift, float) + along[:, None] * np.array(self.position)

    def local_motion(self) -> motion.Motion | None:
        """Everything that moves the star at `position`; None where nothing does."""
        x, y = self.position
        turning = self.field_rotation * float(np.hypot(x, y))
        moves = []
        if self.trail:
            moves.append(motion.trail(self.trail, self.trail_angle, self.trail_bend))
        if turning:
            moves.append(motion.trail(turning, float(np.arctan2(x, -y))))
        if self.periodic_error:
            moves.append(
                motion.periodic(self.periodic_error, self.trail_angle, self.periodic_cycles)
            )
        if self.wind:
            moves.append(motion.wind(self.wind, self.wind_angle))
        if self.jump:
            moves.append(motion.double(self.jump, self.jump_angle, self.jump_share))
        return motion.together(*moves) if moves else None

    def _patterns(self, size: int) -> tuple[int, list[np.ndarray]]:
        """Sub-pixels along an axis, and the diffraction pattern of each channel on them."""
        w = np.array(self.wavelengths_um) / self.wavelengths_um[1]
        half = np.array(self.bandwidth) / 2
        passbands = list(zip((w * (1 - half)).tolist(), (w * (1 + half)).tolist(), strict=True))
        shortest = min(low for low, _ in passbands) * self.lambda_over_d
        # Patterns finer than sub-pixels are blurred by the air, unless that is sharp too.
        oversample = int(np.clip(np.ceil(1.1 / shortest), 3 if self.fwhm < 0.8 else 2, 4))
        if self.aperture == "round":
            x, y = self.position
            shape = {k: getattr(self, k) for k in _ROUND}
            shape["vignetting"] = self.field_vignetting * float(np.hypot(x, y))
            shape["vignetting_angle"] = float(np.arctan2(-y, -x))
        else:
            shape = {"angle": self.aperture_angle}
        # A mono camera's channels are all alike: make each kind once.
        kinds: list[tuple] = []
        places = []
        for kind in zip(passbands, self.local_aberrations(), strict=True):
            if kind not in kinds:
                kinds.append(kind)
            places.append(kinds.index(kind))
        made = bands(
            size,
            self.lambda_over_d,
            [passband for passband, _ in kinds],
            aberrations=[terms for _, terms in kinds],
            oversample=oversample,
            aperture=self.aperture,
            **shape,
        )
        return oversample, [made[i] for i in places]

    def _air(self, n: int, oversample: int, width: float, at: tuple[float, float]) -> np.ndarray:
        """Spectrum of the seeing, shifted to the point `at` (pixels) from index 0."""
        fx, fy = frequencies(n, oversample)
        if self.seeing == "moffat":
            size = n / oversample
            x, y = ((np.arange(n) / oversample - a + size / 2) % size - size / 2 for a in at)
            made = moffat_samples(
                x, y, 1 / oversample, width, self.beta, self.ellipticity, self.angle
            )
            return np.asarray(fft.rfft2(normalised(made)))
        if self.seeing != "kolmogorov":
            raise ValueError(f"seeing is {self.seeing!r}; it must be 'moffat' or 'kolmogorov'")
        c, s = np.cos(self.angle), np.sin(self.angle)
        stretch = np.sqrt(1.0 - self.ellipticity)
        u, v = (c * fx + s * fy) / stretch, (-s * fx + c * fy) * stretch
        otf = kolmogorov_otf(np.hypot(u, v), width, self.outer_scale or None)
        box = np.sinc(fx / oversample) * np.sinc(fy / oversample)
        return np.asarray(otf * box * np.exp(-2j * np.pi * (fx * at[0] + fy * at[1])))


def _stars(o: Optics, size: int) -> Callable[[int], np.ndarray]:
    """A function of the channel that makes its core: diffraction, air, motion and pixels."""
    shifts, moves = o.local_shift(), o.local_motion()
    if o.lambda_over_d:
        oversample, patterns = o._patterns(size)
    else:
        # The narrower the star, the more sub-pixels its motion needs.
        oversample, patterns = int(np.clip(np.ceil(4 / o.fwhm), 2, 4)), []
    n = size * oversample
    moved: np.ndarray | None = None
    if moves is not None:
        (points, shares) = moves
        moved = fft.rfft2(deposit(n, points[:, 0] * oversample, points[:, 1] * oversample, shares))

    def star(channel: int) -> np.ndarray:
        width = o.fwhm * o.width_ratio[channel]
        dx, dy = shifts[channel]
        if not patterns and moved is None and o.seeing == "moffat":
            return moffat(
                size, width, o.beta, ellipticity=o.ellipticity, angle=o.angle, dx=dx, dy=dy
            )
        if patterns:
            spectrum = fft.rfft2(patterns[channel].astype(np.float64))
            spectrum *= o._air(n, oversample, width, (dx, dy))
        else:
            centre = middle(size, oversample) / oversample
            spectrum = o._air(n, oversample, width, (centre + dx, centre + dy))
        if moved is not None:
            spectrum = spectrum * moved
        made = fft.irfft2(spectrum, s=(n, n))
        return normalised(bin_pixels(np.maximum(made, 0.0), oversample))

    return star


def colour_psf(optics: Optics, size: int = 512) -> np.ndarray:
    """Point spread function of `optics` in red, green and blue.

    Diffraction over each passband, convolved with the air, the motion and the pixel;
    plus aureole, reflections, unfocused colour and microlens replicas, by their shares.

    Returns
    -------
    ndarray, shape (3, size, size), float64
        Each channel sums to 1; the centre is pixel ``size // 2``.
    """
    o = optics
    star = _stars(o, size)
    glow = aureole(size, o.aureole_exponent, core=max(2.0, 1.5 * o.fwhm))
    rings = [
        reflection(size, h.radius, hole=h.hole, dx=h.offset[0], dy=h.offset[1], softness=h.softness)
        for h in o.halos
    ]
    shifts, wavefronts = o.local_shift(), o.local_aberrations()
    made: dict[tuple, np.ndarray] = {}
    out = np.empty((3, size, size))
    for c in range(3):
        w, b = o.wavelengths_um[c] / o.wavelengths_um[1], o.bandwidth[c]
        halo = [h.share[c] for h in o.halos]
        facts = (w, b, o.width_ratio[c], tuple(shifts[c]), tuple(wavefronts[c].items()),
                 o.fringe_share[c], tuple(halo))  # fmt: skip
        if facts not in made:  # the channels of a mono camera are all alike
            # Replicas that fall outside the grid are lost to it.
            replicas = o.microlens_share * (o.microlens_period * w < size / 2 - 4)
            astray = o.aureole_share + o.fringe_share[c] + replicas + sum(halo)
            total = (1 - astray) * star(c) + o.aureole_share * glow
            for share, ring in zip(halo, rings, strict=True):
                total += share * ring
            if o.fringe_share[c]:
                total += o.fringe_share[c] * moffat(size, o.fringe_width * o.fwhm, 3.0)
            if replicas:
                total += replicas * microlens(
                    size, o.microlens_period * w, wavelengths=(1 - b / 2, 1 + b / 2),
                    blur=o.microlens_blur, blaze=o.microlens_blaze,
                )  # fmt: skip
            made[facts] = faded(total)
        out[c] = made[facts]
    return out


def psf_grid(optics: Optics, n: int, size: int = 512) -> np.ndarray:
    """Point spread functions at ``n`` x ``n`` places of the frame, edges included.

    With `grid_weights` they make a field whose stars change from place to place:
    the impulse map of each node, its stars weighted, is convolved with the node's
    function, and the maps are summed.

    Returns
    -------
    ndarray, shape (n, n, 3, size, size), float64
        The first axis is y, the second x.
    """
    if n < 2:
        raise ValueError(f"n is {n}; a grid needs at least 2 places along an axis")
    places = np.linspace(-1, 1, n)
    return np.stack([[colour_psf(optics.at(x, y), size) for x in places] for y in places])


def grid_weights(n: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Share of each node of `psf_grid` in stars at `x`, `y` (-1 to 1): bilinear.

    Returns
    -------
    ndarray, shape (n, n, len(x)), float64
        Sums to 1 over the nodes; at most four are not 0.
    """
    nodes = np.arange(n)

    def hat(position: np.ndarray) -> np.ndarray:
        at = (np.clip(position, -1, 1) + 1) / 2 * (n - 1)
        return np.maximum(0.0, 1.0 - np.abs(at[None, :] - nodes[:, None]))

    return np.asarray(hat(np.asarray(y, float))[:, None] * hat(np.asarray(x, float))[None, :])
