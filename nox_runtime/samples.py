"""Pictures to try nox on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from nox_runtime.errors import ImageError, reason

HORSEHEAD_URL = "http://data.astropy.org/tutorials/FITS-images/HorseHead.fits"
HORSEHEAD_SHA256 = "c4bcc0bccbadf1488e4e361c0d8f04255dc344ff401fd4827139b3354eafe863"


def sample(name: str) -> Path:
    """Path of a sample picture.

    Parameters
    ----------
    name : {'nebula', 'horsehead'}
        `nebula` is an invented one, made by ``nox-train sample`` and shipped with
        nox; `horsehead` is fetched from the Astropy tutorials (DSS, photographed
        on a plate) and kept in the user's cache.

    Raises
    ------
    ImageError
        It could not be fetched, or is not the file it should be.
    """
    if name == "nebula":
        return Path(str(resources.files("nox_runtime"))) / "data" / "nebula.fits.fz"
    if name != "horsehead":
        raise ImageError(f"{name}: no such sample; it must be nebula or horsehead")
    import pooch

    try:
        got = pooch.retrieve(
            HORSEHEAD_URL, known_hash=f"sha256:{HORSEHEAD_SHA256}", fname="HorseHead.fits",
            path=pooch.os_cache("astronox"), progressbar=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{HORSEHEAD_URL}: could not be fetched ({reason(error)}); "
            "try again later, or leave --sample out"
        ) from error
    return Path(got)
