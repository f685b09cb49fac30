"""A FITS header edited card by card, so that no other card changes by a byte.

Saving through astropy would mend what is not quite standard: quote a bare NaN,
turn keywords to capitals, replace letters beyond ASCII.
"""

from __future__ import annotations

from astropy.io import fits

_CARD = 80
BLOCK = 2880


def card(keyword: str, value: object, comment: str = "") -> bytes:
    """The 80 bytes of a card; letters beyond ASCII, which FITS has not, become question marks."""
    if isinstance(value, str):
        value = value.encode("ascii", "replace").decode()
    comment = comment.encode("ascii", "replace").decode()
    return bytes(fits.Card(keyword, value, comment).image, "ascii", "replace")


def edited(raw: bytes, changes: dict[str, bytes | None], added: list[bytes]) -> bytes:
    """A header with some cards replaced, removed or added.

    Parameters
    ----------
    raw : bytes
        The header as it stands in the file, END and padding included.
    changes : dict of str to bytes or None
        New cards by keyword, None to remove one; those not there yet are added.
    added : list of bytes
        Further cards for the end, such as HISTORY.

    Returns
    -------
    bytes
        With END, padded to whole blocks.
    """
    todo, cards = dict(changes), []
    for at in range(0, len(raw) - _CARD + 1, _CARD):
        old = raw[at : at + _CARD]
        keyword = old[:8].decode("latin-1").rstrip()
        if keyword == "END":
            break
        if keyword in changes:
            new = todo.pop(keyword, None)
            if new is not None:
                cards.append(new)
            continue
        cards.append(old)
    cards += [new for new in todo.values() if new is not None]
    text = b"".join([*cards, *added, b"END".ljust(_CARD)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def as_extension(header: fits.Header) -> fits.Header:
    """The header of a primary picture as that of an image extension."""
    header = header.copy()
    for keyword in ("SIMPLE", "EXTEND"):
        header.remove(keyword, ignore_missing=True)
    header.insert(0, ("XTENSION", "IMAGE", "Image extension"))
    last = f"NAXIS{header['NAXIS']}"
    for keyword, value in (("GCOUNT", 1), ("PCOUNT", 0)):
        if keyword not in header:
            header.insert(last, (keyword, value), after=True)
    return header
