"""Models that do not come with nox: fetched when asked for, checked, and kept."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from nox_runtime.errors import ModelError, UsageError, reason
from nox_runtime.model import built_in, load_model, user_folder
from nox_runtime.whole import give_name


@dataclass(frozen=True)
class Remote:
    """Where a model can be had, and the SHA-256 of its file."""

    url: str
    sha256: str


#: Models that can be fetched by name.  None is published yet: all that there are come
#: with nox.  An entry here is all that a further one needs.
REGISTRY: dict[str, Remote] = {}


def fetch(what: str, sha256: str | None = None) -> tuple[Path, bool]:
    """Fetch a model into the user's folder, where `find_model` knows it by its name.

    It appears there whole, checked and readable, or not at all.

    Parameters
    ----------
    what : str
        A name of `REGISTRY`, or the address of an .onnx file that nox-export wrote.
    sha256 : str, optional
        Of the file; with an address.

    Returns
    -------
    path : Path
    new : bool
        Whether it was fetched; False where it was there already.

    Raises
    ------
    UsageError
        An address without its hash, or a hash without an address.
    ModelError
        No such model; it could not be fetched, is not the file of that hash or no model
        of nox; or another one has its name.
    """
    known = built_in(what)
    if known is not None:
        return known, False
    remote = _remote(what, sha256)
    name = PurePosixPath(urlsplit(remote.url).path).name
    if not name.endswith(".onnx"):
        raise UsageError(f"{remote.url}: a model's address ends in .onnx; check it")
    if built_in(name.removesuffix(".onnx")) is not None:
        raise ModelError(
            f"{remote.url}: a model of this name comes with nox; fetch it by other means and "
            "give the file by --model"
        )
    path = user_folder() / name
    if not path.exists():
        _download(remote, path)
        return path, True
    if hashlib.sha256(path.read_bytes()).hexdigest() != remote.sha256:
        raise ModelError(
            f"{path}: is there already, with another SHA-256 than {remote.sha256}; "
            "move it away to fetch this one"
        )
    return path, False


def _remote(what: str, sha256: str | None) -> Remote:
    if not what.startswith(("http://", "https://")):
        if sha256 is not None:
            raise UsageError("--sha256 goes with an address; a known model has its own")
        if what not in REGISTRY:
            names = ", ".join(sorted(REGISTRY)) or "none so far"
            raise ModelError(
                f"{what}: no model to be fetched by this name (there are: {names}); give the "
                "address of an .onnx file and its --sha256, or see nox-runtime models"
            )
        return REGISTRY[what]
    if sha256 is None or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UsageError(
            f"{what}: is fetched only with its --sha256, 64 hexadecimal digits; ask for it "
            "where the model comes from"
        )
    return Remote(what, sha256.lower())


def _download(remote: Remote, path: Path) -> None:
    import pooch

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as waiting:
        try:
            pooch.retrieve(
                remote.url, known_hash=f"sha256:{remote.sha256}", fname=path.name, path=waiting,
                progressbar=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{remote.url}: could not be fetched ({reason(error)}); check the address and "
                "its SHA-256, or try again later"
            ) from error
        part = Path(waiting) / path.name
        try:
            load_model(part, device="cpu", threads=1)
        except ModelError as error:
            raise ModelError(str(error).replace(str(part), remote.url)) from error
        give_name(part, path, overwrite=False)
