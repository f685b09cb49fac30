"""Models that are fetched: whole, checked and by request alone, or not at all."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nox_runtime import fetching
from nox_runtime.cli import main
from nox_runtime.fetching import Remote, fetch
from nox_runtime.model import available_models, find_model, load_model, user_folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's."""
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    assert user_folder().is_relative_to(tmp_path)


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """A folder with a model of nox, a text and another model, to be served."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "far.onnx").write_bytes(find_model(None).read_bytes())
    (folder / "nox-1.onnx").write_bytes(find_model(None).read_bytes())
    (folder / "text.onnx").write_bytes(b"no model at all")
    return folder


@pytest.fixture
def base(www: Path) -> Iterator[str]:
    """The address of a server of that folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(www))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def there() -> list[str]:
    """What lies in the user's folder, hidden or not."""
    return sorted(p.name for p in user_folder().iterdir()) if user_folder().exists() else []


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "error:" in line]
    return line


def test_a_model_is_fetched_from_an_address_by_its_hash(
    www: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, known = f"{base}/far.onnx", sha256(www / "far.onnx")
    assert main(["models", "fetch", url, "--sha256", known.upper()]) == 0
    assert capsys.readouterr().out == f"far: fetched, {user_folder() / 'far.onnx'}\n"
    assert there() == ["far.onnx"]
    assert find_model("far") == user_folder() / "far.onnx"
    assert load_model("far", device="cpu").facts == load_model(device="cpu").facts
    assert [(m.name, m.fetched) for m in available_models()] == [("nox-1", False), ("far", True)]
    assert main(["models"]) == 0
    assert "MIT, fetched\n" in capsys.readouterr().out
    (www / "far.onnx").unlink()  # it is not fetched twice
    assert main(["models", "fetch", url, "--sha256", known]) == 0
    assert "far: there already" in capsys.readouterr().out
    # Another file of that name does not replace it.
    assert main(["models", "fetch", url, "--sha256", "0" * 64]) == 1
    assert "far.onnx: is there already, with another SHA-256" in complaint(capsys)
    assert sha256(find_model("far")) == known


def test_a_known_model_is_fetched_by_name(
    www: Path, base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = Remote(f"{base}/far.onnx", sha256(www / "far.onnx"))
    monkeypatch.setitem(fetching.REGISTRY, "far", remote)
    assert main(["models"]) == 0
    assert "far: to be had by nox-runtime models fetch far" in capsys.readouterr().out
    assert fetch("far") == (user_folder() / "far.onnx", True)
    assert fetch("far") == (user_folder() / "far.onnx", False)


@pytest.mark.parametrize("what", ["hash", "address", "model"])
def test_what_is_not_the_file_that_it_should_be_leaves_nothing(
    what: str, www: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"hash": "far", "address": "nowhere", "model": "text"}[what]
    known = sha256(www / "text.onnx")
    assert main(["models", "fetch", f"{base}/{name}.onnx", "--sha256", known]) == 1
    line = complaint(capsys)
    if what == "model":
        assert f"{base}/text.onnx: not a readable ONNX model" in line
    else:
        assert f"{base}/{name}.onnx: could not be fetched" in line
        assert ("hash" if what == "hash" else "404") in line
    assert there() == []


def test_a_built_in_model_is_there_already(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "nox-1"]) == 0
    assert capsys.readouterr().out == f"nox-1: there already, {find_model('nox-1')}\n"
    assert there() == []


@pytest.mark.parametrize(
    ("extra", "code", "says"),
    [
        (["fetch"], 2, "write nox-runtime models fetch NAME"),
        (["list", "nox-1"], 2, "write nox-runtime models fetch NAME"),
        (["fetch", "nonesuch"], 1, "nonesuch: no model to be fetched by this name"),
        (["fetch", "../nox-1"], 1, "no model to be fetched by this name"),
        (["fetch", "nonesuch", "--sha256", "0" * 64], 2, "--sha256 goes with an address"),
        (["fetch", "{base}/far.onnx"], 2, "is fetched only with its --sha256"),
        (["fetch", "{base}/far.onnx", "--sha256", "0" * 63], 2, "is fetched only with its"),
        (["fetch", "{base}/far.zip", "--sha256", "0" * 64], 2, "address ends in .onnx"),
        (["fetch", "{base}/nox-1.onnx", "--sha256", "0" * 64], 1, "name comes with nox"),
    ],
)
def test_wrong_requests_are_one_line(
    extra: list[str], code: int, says: str, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *(part.format(base=base) for part in extra)]) == code
    assert says in complaint(capsys)
    assert there() == []
