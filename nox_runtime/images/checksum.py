"""FITS checksums, block by block (FITS standard 4.0, appendix J)."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

_BLOCK = 2880 * 400
#: ASCII characters that an encoded checksum may not hold: : ; < = > ? @ [ \ ] ^ _ `
_SHUNNED = frozenset((*range(0x3A, 0x41), *range(0x5B, 0x61)))


def ones_sum(data: bytes, start: int = 0) -> int:
    """32-bit ones' complement sum of bytes, a multiple of 4, and an earlier sum."""
    total = start + int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def file_sum(file: BinaryIO, start: int, stop: int) -> int:
    """`ones_sum` of a part of a file, whole blocks of 2880 bytes."""
    file.seek(start)
    total = 0
    while start < stop:
        data = file.read(min(_BLOCK, stop - start))
        if not data:
            break
        total = ones_sum(data, total)
        start += len(data)
    return total


def encoded(total: int) -> str:
    """The 16 letters that make an HDU of this sum, with 16 zeros in their place, sum to 0."""
    value = ~total & 0xFFFFFFFF
    columns = []
    for shift in (24, 16, 8, 0):
        byte = value >> shift & 0xFF
        quarter, rest = divmod(byte, 4)
        four = [quarter + rest + 0x30] + [quarter + 0x30] * 3
        while _SHUNNED & set(four):
            for i in (0, 2):
                if four[i] in _SHUNNED or four[i + 1] in _SHUNNED:
                    four[i] += 1
                    four[i + 1] -= 1
        columns.append(four)
    text = "".join(chr(columns[i][k]) for k in range(4) for i in range(4))
    return text[-1] + text[:-1]
