"""Zernike polynomials by Noll's index: the aberrations of a round pupil."""

from __future__ import annotations

from collections.abc import Mapping
from math import factorial, sqrt

import numpy as np

#: Noll index of each aberration that has a name.  Any other is written "Z" and its index.
ZERNIKE = {
    "tilt_x": 2,
    "tilt_y": 3,
    "defocus": 4,
    "astigmatism_45": 5,
    "astigmatism_0": 6,
    "coma_y": 7,
    "coma_x": 8,
    "trefoil_30": 9,
    "trefoil_0": 10,
    "spherical": 11,
}


def noll_index(name: str) -> int:
    """Noll index of ``"coma_x"`` and the like, or of ``"Z14"``."""
    if name in ZERNIKE:
        return ZERNIKE[name]
    if name[:1] == "Z" and name[1:].isdigit() and int(name[1:]) > 0:
        return int(name[1:])
    raise ValueError(
        f"unknown aberration {name!r}; it must be one of {', '.join(ZERNIKE)}, "
        f"or Z and a Noll index, such as Z14"
    )


def noll_to_nm(j: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal frequency m of Noll's index `j` (from 1).

    Within an order the frequencies rise; even `j` are cosines (m > 0), odd ones
    sines (m < 0).  Noll 1976, JOSA 66, 207, table I.
    """
    if j < 1:
        raise ValueError(f"Noll's index is {j}; it must be at least 1")
    n = 0
    while (n + 1) * (n + 2) // 2 < j:
        n += 1
    place = j - n * (n + 1) // 2  # from 1 within the order
    m = 2 * (place // 2) if n % 2 == 0 else 2 * ((place - 1) // 2) + 1
    return n, m if j % 2 == 0 else -m


def zernike(j: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Zernike polynomial of Noll's index `j`.

    ``Z = sqrt(n + 1) R_n^0`` for m = 0, else ``sqrt(2 (n + 1)) R_n^m`` times
    ``cos(m t)`` for even `j` and ``sin(m t)`` for odd, with
    ``R_n^m(r) = sum_s (-1)^s (n - s)! / (s! ((n+m)/2 - s)! ((n-m)/2 - s)!) r^(n-2s)``
    (Noll 1976, JOSA 66, 207, equations 1 and 2).

    Parameters
    ----------
    j : int
        From 1 (piston) on; 11 is the primary spherical aberration.
    x, y : ndarray
        Places in the pupil, whose radius is 1; broadcast against each other.

    Returns
    -------
    ndarray
        Variance 1 over the unit disc (mean 1 for `j` = 1); a polynomial, so it
        goes on beyond the disc.
    """
    n, signed = noll_to_nm(j)
    m = abs(signed)
    r2 = x * x + y * y
    # R_n^m is r^m times a polynomial in r^2, and r^m cos(m t) is the real part of
    # (x + i y)^m: no root and no arc tangent.
    radial = np.zeros_like(r2)
    for s in range((n - m) // 2 + 1):
        top = (-1) ** s * factorial(n - s)
        below = factorial(s) * factorial((n + m) // 2 - s) * factorial((n - m) // 2 - s)
        radial = radial * r2 + top / below
    if m == 0:
        return sqrt(n + 1) * radial
    real, imaginary = np.ones_like(r2), np.zeros_like(r2)
    for _ in range(m):
        real, imaginary = real * x - imaginary * y, real * y + imaginary * x
    return sqrt(2 * (n + 1)) * radial * (real if signed > 0 else imaginary)


def wavefront(aberrations: Mapping[str, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum of Zernike terms, in the unit of their coefficients (waves, root mean square).

    Parameters
    ----------
    aberrations : mapping of str to float
        By name (`ZERNIKE`) or ``"Z14"``.
    x, y : ndarray
        As for `zernike`.
    """
    total = np.zeros(np.broadcast(x, y).shape)
    for name, amount in aberrations.items():
        if amount:
            total += amount * zernike(noll_index(name), x, y)
    return total
