"""Tile-compressed FITS, written without loss: a picture becomes a table of packed rows.

FITS standard 4.0, chapter 10.  Integers of 8, 16 and 32 bits by the Rice algorithm,
all others by gzip with their bytes shuffled, as fpack and astropy read and write them.
"""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from nox_runtime.images.header import BLOCK, card, edited

#: Cards of the picture that describe its place in the file; the table has its own.
_OWN = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "EXTEND", "TFIELDS",
        "CHECKSUM", "DATASUM")  # fmt: skip


def pack(plain: Path, packed: Path, header_at: int, data_at: int, size: int) -> None:
    """Write a copy of a FITS file in which one picture is compressed.

    Parameters
    ----------
    plain, packed : Path
    header_at, data_at : int
        Where the picture's header and pixels begin in `plain`.
    size : int
        Bytes of its pixels.
    """
    with open(plain, "rb") as old, open(packed, "w+b") as new:
        old.seek(header_at)
        raw = old.read(data_at - header_at)
        old.seek(0)
        _copy(old, new, header_at)
        if header_at == 0:  # a table cannot be the first HDU
            bare = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
            new.write(bare.tostring().encode("ascii"))
        _table(raw, old, new, data_at)
        old.seek(data_at + -(-size // BLOCK) * BLOCK)
        shutil.copyfileobj(old, new, 1 << 20)


def _copy(old: BinaryIO, new: BinaryIO, length: int) -> None:
    while length > 0:
        block = old.read(min(length, 1 << 20))
        new.write(block)
        length -= len(block)


def _table(raw: bytes, old: BinaryIO, new: BinaryIO, data_at: int) -> None:
    """The picture's HDU as a table of one packed row each."""
    header = fits.Header.fromstring(raw.decode("latin-1"))
    sides = [int(header[f"NAXIS{i + 1}"]) for i in range(header["NAXIS"])]
    bitpix, width = int(header["BITPIX"]), sides[0]
    rows = int(np.prod(sides[1:]))
    dtype = np.dtype("u1") if bitpix == 8 else np.dtype(
        f">{'f' if bitpix < 0 else 'i'}{abs(bitpix) // 8}"
    )  # fmt: skip
    rice = bitpix in (8, 16, 32)
    start = new.tell()
    # The heap's size and longest row are not known yet; their cards have room for any.
    new.write(_cards(raw, header, sides, rice, 2**60, 2**60))
    table_at = new.tell()
    new.write(bytes(16 * rows))
    old.seek(data_at)
    found, heap, longest = np.zeros((rows, 2), ">i8"), 0, 0
    for i in range(rows):
        values = np.frombuffer(old.read(width * dtype.itemsize), dtype)
        block = _rice(values) if rice else _shuffled(values)
        new.write(block)
        found[i] = len(block), heap
        heap, longest = heap + len(block), max(longest, len(block))
    new.write(bytes(-(16 * rows + heap) % BLOCK))
    new.seek(table_at)
    new.write(found.tobytes())
    new.seek(start)
    new.write(_cards(raw, header, sides, rice, heap, longest))
    new.seek(0, 2)


def _rice(values: np.ndarray) -> bytes:
    import imagecodecs

    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
    return bytes(imagecodecs.rcomp_encode(native, nblock=32))


def _shuffled(values: np.ndarray) -> bytes:
    """GZIP_2: all first bytes, then all second ones, ...; then gzip."""
    bytes_ = np.ascontiguousarray(values).view("u1").reshape(-1, values.dtype.itemsize)
    made = zlib.compressobj(5, zlib.DEFLATED, 31)
    return made.compress(np.ascontiguousarray(bytes_.T).tobytes()) + made.flush()


def _cards(
    raw: bytes, header: fits.Header, sides: list[int], rice: bool, heap: int, longest: int
) -> bytes:
    rows = int(np.prod(sides[1:]))
    table: list[tuple[str, object, str]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "8-bit bytes"),
        ("NAXIS", 2, "2-dimensional table"),
        ("NAXIS1", 16, "width of table in bytes"),
        ("NAXIS2", rows, "number of rows in table"),
        ("PCOUNT", heap, "size of the heap"),
        ("GCOUNT", 1, "one data group"),
        ("TFIELDS", 1, "number of fields in each row"),
        ("TTYPE1", "COMPRESSED_DATA", "label for field 1"),
        ("TFORM1", f"1QB({longest})", "variable length array"),
        ("ZIMAGE", True, "this is a compressed picture"),
    ]
    # In the picture's own order: cfitsio renames them one by one.
    first = "SIMPLE" in header
    table += [
        ("ZSIMPLE", True, "it was the first HDU")
        if first
        else ("ZTENSION", "IMAGE", "it was an extension"),
        ("ZBITPIX", header["BITPIX"], "BITPIX of the picture"),
        ("ZNAXIS", len(sides), "NAXIS of the picture"),
    ]
    table += [(f"ZNAXIS{i}", side, "length of axis") for i, side in enumerate(sides, 1)]
    table += [("ZEXTEND", True, "")] if first else [("ZPCOUNT", 0, ""), ("ZGCOUNT", 1, "")]
    table += [
        (f"ZTILE{i}", side if i == 1 else 1, "size of tiles") for i, side in enumerate(sides, 1)
    ]
    table.append(("ZCMPTYPE", "RICE_1" if rice else "GZIP_2", "compression algorithm"))
    if rice:
        table += [
            ("ZNAME1", "BLOCKSIZE", "pixels of a block"), ("ZVAL1", 32, ""),
            ("ZNAME2", "BYTEPIX", "bytes of a pixel"),
            ("ZVAL2", abs(int(header["BITPIX"])) // 8, ""),
        ]  # fmt: skip
    elif int(header["BITPIX"]) < 0:
        table.append(("ZQUANTIZ", "NONE", "without loss"))
    own = {*_OWN, *(f"NAXIS{i}" for i in range(1, len(sides) + 1))}
    kept = edited(raw, dict.fromkeys(own), [])
    body = kept[: kept.rindex(b"END".ljust(80))]
    text = b"".join(card(*entry) for entry in table) + body.rstrip(b" ")
    text = text.ljust(-(-len(text) // 80) * 80) + b"END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)
