"""How physical values become the numbers in a FITS file, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

#: BZERO of the unsigned integers that FITS lacks, by BITPIX (FITS standard 4.0, 4.4.2.5).
_UNSIGNED = {16: 2**15, 32: 2**31, 64: 2**63}


@dataclass(frozen=True)
class Encoding:
    """How physical values become the numbers in a FITS file.

    ``dtype`` is the type of the physical values: integers stay integers where the
    scaling is that of an unsigned type; any other scaling gives float64.
    """

    bitpix: int
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    @classmethod
    def of(cls, header: fits.Header) -> Encoding:
        """Read it from a header."""
        blank = header.get("BLANK")
        usable = header["BITPIX"] > 0 and isinstance(blank, int) and not isinstance(blank, bool)
        return cls(
            int(header["BITPIX"]),
            float(header.get("BSCALE", 1.0)),
            float(header.get("BZERO", 0.0)),
            blank if usable else None,
        )

    @classmethod
    def for_dtype(cls, dtype: np.dtype) -> Encoding:
        """The plain encoding of an array's type."""
        if dtype.kind == "f":
            return cls(-8 * max(dtype.itemsize, 4))
        bits = 8 * dtype.itemsize
        if dtype.kind == "u" and bits > 8:
            return cls(bits, bzero=float(_UNSIGNED[bits]))
        return cls(bits if dtype.kind == "u" or bits > 8 else 16)

    @property
    def unsigned(self) -> bool:
        """Whether the scaling only moves an unsigned range."""
        return self.bscale == 1 and self.blank is None and self.bzero == _UNSIGNED.get(self.bitpix)

    @property
    def scaled(self) -> bool:
        """Whether physical values are floats made from the file's numbers by scaling."""
        return self.dtype != self.raw_dtype.newbyteorder("=") and not self.unsigned

    @property
    def raw_dtype(self) -> np.dtype:
        """Type of the numbers in the file, big-endian."""
        if self.bitpix == 8:
            return np.dtype("u1")
        return np.dtype(f">{'f' if self.bitpix < 0 else 'i'}{abs(self.bitpix) // 8}")

    @property
    def dtype(self) -> np.dtype:
        """Type of the physical values."""
        if self.unsigned:
            return np.dtype(f"u{self.bitpix // 8}")
        if self.bscale == 1 and self.bzero == 0 and self.blank is None:
            return self.raw_dtype.newbyteorder("=")
        return np.dtype("f8")

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """Physical values of the numbers in the file."""
        if self.unsigned:  # flipping the highest bit adds half the range
            bits = raw.astype(raw.dtype.newbyteorder("=")).view(self.dtype)
            return np.asarray(bits ^ self.dtype.type(_UNSIGNED[self.bitpix]))
        if self.dtype == raw.dtype.newbyteorder("="):
            return raw.astype(self.dtype)
        values = raw.astype("f8") * self.bscale + self.bzero
        if self.blank is not None:
            values[raw == self.blank] = np.nan
        return np.asarray(values)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The numbers for the file; the inverse of `decode`."""
        if self.unsigned:
            flipped = values.astype(self.dtype) ^ self.dtype.type(_UNSIGNED[self.bitpix])
            return np.asarray(flipped.view(f"i{self.bitpix // 8}"), self.raw_dtype)
        if values.dtype == self.raw_dtype.newbyteorder("=") and self.dtype == values.dtype:
            return np.asarray(values, self.raw_dtype)
        raw: np.ndarray = (values.astype("f8") - self.bzero) / self.bscale
        if self.bitpix > 0:
            limits = np.iinfo(self.raw_dtype.newbyteorder("="))
            gaps = np.isnan(raw)
            raw = np.clip(np.rint(np.where(gaps, 0, raw)), limits.min, limits.max)
            raw = raw.astype("i8")
            if self.blank is not None:  # a value must not become a gap by rounding
                raw[raw == self.blank] += 1 if self.blank < limits.max else -1
            raw[gaps] = self.blank or 0
        return raw.astype(self.raw_dtype)
