"""The script against a stand-in Siril, with the real sirilpy."""

from __future__ import annotations

import ast
import errno
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conftest import StandIn, starry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from siril.real_siril import SCRIPT
from siril.stand_in_siril import StandInSiril, load_script

from nox_runtime import StarRemover


@pytest.fixture(scope="session")
def nox(sirilpy_site: Path) -> ModuleType:
    """The script as a module, over the real sirilpy."""
    sys.path.insert(0, str(sirilpy_site))
    return load_script(SCRIPT)


class Session:
    """The script, a Siril, and the connection between them."""

    def __init__(self, nox: ModuleType, siril: StandInSiril, si: Any) -> None:
        self.nox, self.siril, self.si = nox, siril, si
        self.stop = threading.Event()

    def command(self, *arguments: str) -> str | None:
        """Run the script with arguments; returns the line that an error became."""

        def work() -> None:
            self.nox.run_command(self.si, list(arguments), self.stop)

        said: str | None = self.nox.guarded(self.si, work)
        return said


@pytest.fixture
def session(nox: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    siril = StandInSiril(tmp_path, np.ascontiguousarray(starry(channels=3), np.float32))
    monkeypatch.setenv("MY_SOCKET", siril.socket)
    monkeypatch.setattr(nox, "make_remover", lambda *_: StarRemover(StandIn(), tile=128))
    si = nox.SirilInterface()
    si.connect()
    yield Session(nox, siril, si)
    si.disconnect()
    siril.close()
    assert not list(Path("/dev/shm").glob(f"nox-test-{id(siril)}-*"))


def test_the_starless_image_takes_the_place_of_the_loaded_one(session: Session) -> None:
    before = session.siril.values
    assert before is not None
    assert session.command("-stretch=none") is None
    folder = session.siril.folder
    expected = StarRemover(StandIn(), tile=128).remove(before, stretch="none")
    after = session.siril.values
    assert after is not None
    assert np.array_equal(after, expected.starless)
    assert (after != before).mean() > 0.01
    with fits.open(folder / "starless_m42.fit") as hdus:
        assert np.array_equal(hdus[0].data, after)
        header = hdus[0].header
    assert (header["FILTER"], header["MYKEY"]) == ("Ha_Starless", 42)
    assert header["NOXMODEL"] == "stand-in 1.0"
    assert any("stars removed (stand-in" in line for line in header["HISTORY"])
    assert session.siril.filename == str(folder / "starless_m42.fit")
    assert fits.getheader(folder / "starmask_m42.fit")["FILTER"] == "Ha_StarMask"
    assert sorted(p.name for p in folder.glob("*.fit")) == ["starless_m42.fit", "starmask_m42.fit"]


def test_one_undo_before_the_pixels_keys_after_them_and_progress_to_the_end(
    session: Session,
) -> None:
    assert session.command() is None
    done = [entry.split()[0] for entry in session.siril.done]
    assert done[:2] == ["undo", "set"]
    assert done.count("undo") == 1
    assert done[-1] == "filename"
    keys = [entry.split()[2] for entry in session.siril.done if "update_key" in entry]
    assert set(keys) == {"NOXVER", "NOXMODEL", "NOXSHA", "FILTER"}
    assert not session.siril.locked
    shares = [share for share, text in session.siril.progress if text]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    undo = next(entry for entry in session.siril.done if entry.startswith("undo"))
    assert len(undo.removeprefix("undo ").encode()) <= 70


@pytest.mark.parametrize("change", ["pixels", "size", "name", "closed"])
def test_an_image_that_changed_meanwhile_is_left_as_it_is(
    session: Session, nox: ModuleType, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Siril's lock stops neither the opening of another image nor undo."""
    siril, run = session.siril, nox.run_picture

    def meanwhile(*args: Any) -> Any:
        result = run(*args)
        assert siril.values is not None
        if change == "name":
            siril.filename = "m43.fit"
        else:
            other = {"pixels": siril.values[..., ::-1].copy(), "size": siril.values[:, 1:].copy()}
            siril.values = other.get(change)
        return result

    monkeypatch.setattr(nox, "run_picture", meanwhile)
    said = session.command()
    assert said == (
        "nox: error: the files were written; the image in Siril changed meanwhile and was left "
        "as it is"
    )
    assert not {entry.split()[0] for entry in siril.done} & {"undo", "set", "filename"}
    assert (siril.folder / "starless_m42.fit").exists()


def test_a_run_after_undo_has_the_first_names_again(session: Session, nox: ModuleType) -> None:
    def run(before: Any) -> Any:
        picture, *_ = nox.process_image(
            session.si, nox.Settings(), lambda *_: None, session.stop, None, before
        )
        return nox.Before.of(picture, session.si.get_image_filename())

    siril, original = session.siril, session.siril.values
    before = run(None)
    siril.values, siril.cards["FILTER"] = original, "Ha_Starless"  # undo leaves name and keys
    run(before)
    folder = siril.folder
    assert sorted(p.name for p in folder.glob("*.fit")) == ["starless_m42.fit", "starmask_m42.fit"]
    assert fits.getheader(folder / "starmask_m42.fit")["FILTER"] == "Ha_StarMask"
    assert siril.filename == str(folder / "starless_m42.fit")
    run(before)  # no undo: the stars are looked for in what is left, which is another picture
    assert (folder / "starless_starless_m42.fit").exists()


def test_what_killed_runs_left_is_removed(session: Session) -> None:
    folder, dead = session.siril.folder, 2**22 + 1  # no process has such a number
    names = {
        f".starless_m42.fit.{dead}.part": False,
        f".changes_m42.fit.{dead}.part": False,
        f".starmask_m42.fit.{os.getppid()}.part": True,  # it runs
        f".another_m42.fit.{dead}.part": True,
        f".starless_new.fit.{dead}.part": True,  # on another machine, perhaps
    }
    for name in names:
        (folder / name).touch()
        if "new" not in name:
            os.utime(folder / name, (0, 0))
    assert session.command() is None
    assert {name: (folder / name).exists() for name in names} == names


def test_undo_that_is_refused_headless_is_no_error(session: Session) -> None:
    session.siril.fail.add("undo")
    session.si.is_cli = lambda: True
    assert session.command() is None
    assert "set" in session.siril.done


def test_undo_that_is_refused_in_the_window_leaves_the_image(session: Session) -> None:
    session.siril.fail.add("undo")
    session.si.is_cli = lambda: False
    said = session.command()
    assert said is not None
    assert said.startswith("nox: error: the files were written; Siril cannot keep an undo state")
    assert "set" not in session.siril.done


def test_files_survive_pixels_that_siril_refuses(session: Session) -> None:
    before = session.siril.values
    session.siril.fail.add("set")
    said = session.command()
    assert said is not None
    assert said.startswith("nox: error: the files were written; Siril did not take the pixels")
    assert session.siril.values is before
    assert {p.name for p in session.siril.folder.glob("*m42*")} == {
        "starless_m42.fit", "starmask_m42.fit",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["command", "filename"])
def test_what_is_refused_after_the_pixels_is_a_note(session: Session, kind: str) -> None:
    session.siril.fail.add(kind)
    assert session.command() is None
    assert any("the image is starless" in line for line in session.siril.messages)


def test_a_file_that_cannot_be_renamed_leaves_the_image(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def refuse(old: Path, new: Path) -> None:
        if "starmask" in Path(new).name:
            raise PermissionError(13, "Permission denied")
        rename(old, new)

    monkeypatch.setattr(session.nox.os, "replace", refuse)
    said = session.command()
    assert said is not None
    assert "starmask_m42.fit: cannot be replaced (Permission denied)" in said
    assert "as it was; starless_m42.fit was written" in said
    assert session.siril.done == []
    assert [p.name for p in session.siril.folder.glob("*m42*")] == ["starless_m42.fit"]


def test_text_beyond_ascii_is_written_plainly(nox: ModuleType) -> None:
    assert nox._plain("Étirement: Nébuleuse\t½ 星") == "Etirement: Nebuleuse1?2 ?"
    assert len(nox._plain("½" * 80)) == 80


def test_a_header_beyond_ascii_is_written(session: Session) -> None:
    session.siril.cards = {"OBJECT": "Nébuleuse", "SITE": "Große Alm"}
    assert session.command() is None
    header = fits.getheader(session.siril.folder / "starless_m42.fit")
    assert header["OBJECT"] == "Nebuleuse"


def test_a_sequence_with_nothing_to_write_is_an_error(session: Session) -> None:
    settings = session.nox.Settings(sequence="l_", starless=False, starmask=False)
    with pytest.raises(session.nox.Problem, match="nothing to write"):
        session.nox.process_sequence(session.si, settings, lambda *_: None, session.stop)


@pytest.mark.parametrize("kind", ["claim"])
def test_whatever_siril_refuses_leaves_no_file_and_one_line(session: Session, kind: str) -> None:
    before = session.siril.values
    session.siril.fail.add(kind)
    said = session.command()
    assert said is not None
    assert said.startswith("nox: error: Siril says:")
    assert session.siril.values is before
    assert session.siril.messages[-1] == said
    assert not list(session.siril.folder.glob("*m42*"))
    assert not list(session.siril.folder.glob(".*.part"))


def test_a_stop_leaves_no_file(session: Session) -> None:
    before = session.siril.values
    session.stop.set()
    assert session.command() == "nox: stopped; the image is as it was"
    assert session.siril.values is before
    assert "set" not in session.siril.done
    assert not list(session.siril.folder.glob("*m42*"))


def test_a_stop_within_a_tile_is_told_as_one_between_them(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nox_runtime.errors import StoppedError
    from nox_runtime.removal import StarRemover

    def iter_rows(*_: Any, cancelled: Any, **__: Any) -> Any:
        session.stop.set()
        assert cancelled()
        raise StoppedError("stopped")
        yield

    before = session.siril.values
    monkeypatch.setattr(StarRemover, "iter_rows", iter_rows)
    assert session.command() == "nox: stopped; the image is as it was"
    assert session.siril.values is before
    assert not list(session.siril.folder.glob("*m42*"))


def test_a_folder_that_cannot_be_written_is_named(session: Session) -> None:
    (session.siril.folder / "starmask_m42.fit").mkdir()
    before = session.siril.values
    said = session.command()
    assert said is not None
    assert "starmask_m42.fit" in said
    assert session.siril.values is before
    assert not list(session.siril.folder.glob("*.part"))


def test_a_full_disk_is_found_before_the_work(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session.nox.os, "posix_fallocate", full)
    said = session.command()
    assert said is not None
    assert "starless_m42.fit: cannot be written (No space left on device)" in said
    assert [share for share, text in session.siril.progress if text] == [0.0]
    assert session.siril.done == []
    assert not list(session.siril.folder.glob("*m42*"))
    assert not list(session.siril.folder.glob(".*.part"))


def test_a_disk_that_fails_during_the_work_leaves_no_file(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = session.nox.Output.put

    def fails(output: Any, start: int, rows: np.ndarray) -> None:
        begun(output, start, rows)
        if start and "starmask" in output.path.name:
            output.file.close()
            output.file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
            begun(output, start, rows)

    monkeypatch.setattr(session.nox.Output, "put", fails)
    said = session.command()
    assert said is not None
    assert "starmask_m42.fit: cannot be written (No space left on device)" in said
    assert session.siril.done == []
    assert not list(session.siril.folder.glob("*m42*"))
    assert not list(session.siril.folder.glob(".*.part"))


def test_large_stars_are_asked_of_the_engine(
    nox: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("nox_runtime.StarRemover", lambda *_, **options: asked.append(options))
    for words in (["-largestars", "-tile=512"], []):
        nox.make_remover(nox.read_arguments(words)[0])
    assert [options["large_stars"] for options in asked] == [True, False]


def test_without_an_image_nothing_is_read(session: Session) -> None:
    session.siril.values = None
    said = session.command("-stretch")
    assert said is not None
    assert "no image is loaded" in said
    assert session.siril.done == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-strength=1.5"], "-strength is 1.5; it must be 0 to 1"),
        (["-strength=much"], "invalid float value"),
        (["-stretch=linear"], "invalid choice"),
        (["-maxsize=nan"], "-maxsize is nan"),
        (["-selection"], "nothing is selected"),
        (["-sequence=light_"], "no files light_00001.fit"),
        (["stars"], "unrecognized arguments: stars"),
    ],
)
def test_bad_arguments_are_one_line(session: Session, arguments: list[str], complaint: str) -> None:
    said = session.command(*arguments)
    assert said is not None
    assert complaint in said
    assert "\n" not in said
    assert session.siril.done == []


def test_8_bit_images_keep_their_range(session: Session) -> None:
    pixels = np.rint(starry() * 255).astype(np.uint16)[0]
    session.siril.values, session.siril.bitpix = pixels, 8
    assert session.command() is None
    after = session.siril.values
    assert after.dtype == np.uint16
    assert 20 < after.max() <= 255
    expected = StarRemover(StandIn(), tile=128).remove(pixels.astype(np.uint8))
    assert np.array_equal(after, expected.starless)
    assert expected.stretch.kind == "none"
    assert fits.getdata(session.siril.folder / "starless_m42.fit").dtype == np.uint8


@pytest.mark.parametrize("kind", ["f4", "u2", "u1"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["m42.fit", "m42.PNG"])  # Siril turns the latter over
def test_every_file_has_the_picture_as_siril_has_it(
    session: Session, kind: str, channels: int, name: str
) -> None:
    sky = starry(channels=channels)
    white = 1.0 if kind == "f4" else np.iinfo(kind).max
    before = np.ascontiguousarray(np.rint(sky * white) if white > 1 else sky, kind)
    before = before if channels == 3 else before[0]
    session.siril.values = before.astype("u2" if kind == "u1" else kind)
    session.siril.bitpix = 8 if kind == "u1" else -32
    session.siril.filename = name
    assert session.command("-changes") is None
    shown = before[..., ::-1, :] if name.endswith("PNG") else before
    expected = StarRemover(StandIn(), tile=128).remove(shown)
    made = {
        what: fits.getdata(session.siril.folder / f"{what}_m42.fit")
        for what in ("starless", "starmask", "changes")
    }
    if name.endswith("PNG"):
        made = {what: values[..., ::-1, :] for what, values in made.items()}
    assert made["starless"].dtype.newbyteorder("=") == before.dtype
    assert np.array_equal(made["starless"], expected.starless)
    assert np.array_equal(made["changes"], expected.mask)
    assert np.array_equal(
        fits.getdata(session.siril.folder / "starless_m42.fit"), session.siril.values
    )
    a, b = made["starless"] / white, made["starmask"].astype(float)
    assert np.abs(1 - (1 - a) * (1 - b) - shown / white).max() < 1e-6
    share = np.count_nonzero(expected.mask) / expected.mask.size
    assert any(f"{share:.1%} of the pixels changed" in line for line in session.siril.messages)


@pytest.mark.parametrize("name", ["m42.fit", "m42.tif"])
def test_the_selection_is_that_of_siril(session: Session, name: str) -> None:
    before = session.siril.values
    assert before is not None
    x, y, w, h = 20, 10, 90, 70
    session.siril.selection, session.siril.filename = (x, y, w, h), name
    inside = session.si.get_image_pixeldata(shape=[x, y, w, h])
    assert session.command("-selection") is None
    changed = np.asarray(session.siril.values != before)
    rows = slice(before.shape[1] - y - h, before.shape[1] - y)
    assert np.array_equal(before[:, rows, x : x + w], inside)
    assert changed[:, rows, x : x + w].any()
    changed[:, rows, x : x + w] = False
    assert not changed.any()


def test_the_names_of_packed_and_unnamed_images(nox: ModuleType) -> None:
    for path, name in (
        ("a/m42.fit", "m42"), ("m42.fits.fz", "m42"), ("m 42.b.fit.gz", "m 42.b"), ("", "image"),
    ):  # fmt: skip
        assert nox.Picture(np.zeros((2, 2)), path, "", []).name == name


def test_a_raw_mosaic_is_warned_of(session: Session) -> None:
    session.siril.values = np.ascontiguousarray(starry(channels=1)[0], np.float32)
    session.siril.cards["BAYERPAT"] = "RGGB"
    assert session.command() is None
    assert any("raw colour mosaic" in line for line in session.siril.messages)


def test_flags_of_the_native_command_are_understood(nox: ModuleType) -> None:
    settings, notes = nox.read_arguments(["-stretch", "-upscale", "-stride=128", "-nostarmask"])
    assert (settings.stretch, settings.starmask) == ("mtf", False)
    assert len(notes) == 2
    settings, _ = nox.read_arguments(["--stretch", "--nomask", "-device=cpu", "-model=My File"])
    assert (settings.stretch, settings.starmask, settings.model) == ("mtf", False, "My File")
    assert nox.read_arguments([])[0] == nox.Settings()


def test_what_is_missing_is_said_and_nothing_is_installed_unasked(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.nox, "missing_packages", lambda: ["astronox", "onnxruntime"])
    asked: list[str] = []
    monkeypatch.setattr(session.nox.sirilpy, "ensure_installed", asked.append)
    said = session.command("-stretch")
    assert said is not None
    assert "astronox and onnxruntime not found in Siril's Python environment" in said
    assert said.endswith("-install (works once astronox is on the package index)")
    assert asked == []
    assert session.siril.done == []


def test_install_installs_what_is_missing_and_prints_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = ["astronox", "onnxruntime"]

    class Helper:
        def install_onnxruntime(self) -> None:
            print("x" * 100_000)
            missing.remove("onnxruntime")

    def ensure(package: str) -> None:
        print("y" * 100_000)
        missing.remove(package)

    monkeypatch.setattr(session.nox, "missing_packages", lambda: list(missing))
    monkeypatch.setattr(session.nox.sirilpy, "ensure_installed", ensure)
    monkeypatch.setattr(session.nox.sirilpy, "ONNXHelper", Helper)
    assert session.command("-install") is None
    assert missing == []
    assert capfd.readouterr().out == ""


def test_an_installation_that_fails_is_one_line(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(package: str) -> None:
        raise session.nox.SirilError("no network\nat all")

    monkeypatch.setattr(session.nox, "missing_packages", lambda: ["astronox"])
    monkeypatch.setattr(session.nox.sirilpy, "ensure_installed", fails)
    said = session.command("-install")
    assert said is not None
    assert "astronox cannot be installed (no network at all)" in said


def test_in_the_window_nothing_is_installed_unless_agreed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.nox, "missing_packages", lambda: ["astronox"])
    said = session.nox.guarded(session.si, lambda: session.nox.run_window(session.si, session.stop))
    assert said == "nox: stopped; the image is as it was"
    assert session.siril.done == ["confirm"]


def test_unexpected_errors_are_one_line_too(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setattr(session.nox, "make_remover", fails)
    assert session.command() == "nox: error: unexpected ZeroDivisionError: first second"
    monkeypatch.setattr(session.nox, "make_remover", lambda *_: [][0])
    assert "IndexError" in str(session.command())


def test_settings_are_remembered_but_not_what_belongs_to_one_image(session: Session) -> None:
    nox = session.nox
    changed = nox.Settings(
        stretch="mtf", strength=0.5, starmask=False, selection=True, sequence="x", install=True
    )
    nox.remember(session.si, changed)
    assert nox.recall(session.si) == nox.Settings(stretch="mtf", strength=0.5, starmask=False)
    stored = session.siril.folder / "nox_star_removal.json"
    stored.write_text(json.dumps({"stretch": 3, "strength": 0.25, "odd": 1}))
    assert nox.recall(session.si) == nox.Settings(strength=0.25)
    stored.write_text("{")
    assert nox.recall(session.si) == nox.Settings()


_pixels = arrays.arrays(np.float32, (4, 5), elements=st.floats(-0.5, 1.5, width=32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(picture=_pixels, starless=_pixels)
def test_descreened_stars_recombine_also_over_1_and_where_it_became_brighter(
    nox: ModuleType, picture: np.ndarray, starless: np.ndarray
) -> None:
    starless = np.where(np.abs(1 - starless) < 0.01, np.float32(0.5), starless)
    stars = nox.descreened(starless, picture - starless).astype(float)
    again = 1 - (1 - starless.astype(float)) * (1 - stars)
    assert np.abs(again - picture).max() < 1e-6


@given(
    picture=arrays.arrays(np.uint16, (4, 5)),
    taken=arrays.arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_descreened_stars_of_integers_recombine_exactly(
    nox: ModuleType, picture: np.ndarray, taken: np.ndarray
) -> None:
    starless = (picture * (1 - taken.astype(float))).astype(np.uint16)
    stars = nox.descreened(starless, picture - starless).astype(float)
    again = 65535 - (65535 - starless.astype(float)) * (1 - stars)
    assert np.array_equal(np.rint(again), picture)


def test_nan_have_no_stars(nox: ModuleType) -> None:
    starless = np.array([np.nan, 1.0, 0.5], np.float32)
    stars = np.array([0.0, 0.0, 0.0], np.float32)
    assert np.array_equal(nox.descreened(starless, stars), [0, 0, 0])


def test_previews_are_upright_and_small(nox: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((3, 60, 80), np.float32)
    picture[:, :, :40] = 0.5
    picture[1, :10] = 1.0  # green at the bottom of Siril's display
    picture[0, 5, 5] = np.nan
    shown = nox.previews(picture, picture * 0.5)
    assert set(shown) == {"Before", "After", "Stars"}
    assert shown["Before"].shape == (60, 80, 3)
    assert shown["Before"][-1, -1, 1] == 255
    assert shown["Before"][0, -1, 1] == 0
    assert (shown["Before"].astype(int) >= shown["After"]).all()
    monkeypatch.setattr(nox, "PREVIEW", 1200)
    assert nox.previews(picture)["Before"].shape == (30, 40, 3)
    eight = nox.previews(np.full((20, 20), 128, np.uint8))["Before"]
    assert (eight == 128).all()
    dark = np.random.default_rng(1).normal(0.03, 0.02, (40, 40)).clip(0, 1).astype(np.float32)
    dark[20:22, 20:22] = 1.0
    assert nox.previews(dark)["Before"].mean() == pytest.approx(255 * dark.mean(), rel=0.02)


def test_frames_of_a_sequence_are_found_in_order(session: Session) -> None:
    folder = session.siril.folder
    for name in ("l_00010.fit", "l_00002.fit", "l_1.txt", "other_00001.fit", "l_00003.fit.fz"):
        (folder / name).touch()
    for root in ("l_", "l", "l_.seq"):
        found = session.nox.sequence_files(session.si, root)
        assert [path.name for path in found] == ["l_00002.fit", "l_00003.fit.fz", "l_00010.fit"]


def test_times_are_for_people(nox: ModuleType) -> None:
    assert [nox.lasting(s) for s in (0.2, 12.4, 89, 100, 3600)] == [
        "1 s", "12 s", "89 s", "2 min", "60 min",
    ]  # fmt: skip


def test_the_script_meets_the_rules_of_sirils_repository() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    head = text[:1500]
    for needed in ("SPDX-License-Identifier: MIT", "Version:", "Contact:", "Changelog"):
        assert needed in head
    assert 'sirilpy.check_module_version(">=1.0.8")' in text  # Siril greps for double quotes
    assert 'si.cmd("requires", "1.4.0")' in text
    top = text[: text.index("VERSION = ")]
    assert "PyQt6" not in top
    assert "onnxruntime" not in top
    ast.parse(text, feature_version=(3, 9))  # older Pythons get as far as being told so


def test_long_strings_are_kept_and_sums_that_are_no_longer_true_are_not(session: Session) -> None:
    long = "".join(f"{k:03d} it's told at length; " for k in range(12))[:220].strip()
    session.siril.cards = {
        "MYKEY": 42, "STORY": long, "CHECKSUM": "AAAAAAAAAAAAAAAA", "NOTE": "short",
        "DATASUM": "1234567890",
    }  # fmt: skip
    assert session.command("-changes") is None
    for kind in ("starless", "starmask", "changes"):
        header = fits.getheader(session.siril.folder / f"{kind}_m42.fit")
        assert (header["STORY"], header["NOTE"], header["MYKEY"]) == (long, "short", 42)
        assert "CHECKSUM" not in header
        assert "DATASUM" not in header


class Frames:
    """Frames of a sequence `l_`, as sirilpy hands them over; what they have can be changed."""

    def __init__(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session, self.headers, self.stop_at = session, {}, ""  # type: Session, dict[str, str], str
        self.fails: dict[str, Exception] = {}
        self.names = [f"l_{k:05d}.fit" for k in (1, 2, 3)]
        self.data = np.ascontiguousarray(starry()[0], np.float32)
        for name in self.names:
            (session.siril.folder / name).touch()
        monkeypatch.setattr(session.si, "load_image_from_file", self.load, raising=False)

    def load(self, path: str) -> Any:
        name = Path(path).name
        if name in self.fails:
            raise self.fails[name]
        if name == self.stop_at:
            self.session.stop.set()
        header = self.headers.get(name, "") + "BITPIX  = -32\nEND"
        return SimpleNamespace(data=self.data, header=header, history=None)

    def files(self) -> list[str]:
        folder = self.session.siril.folder
        return sorted(p.name for p in folder.iterdir() if "_l_" in p.name)


@pytest.fixture
def frames(session: Session, monkeypatch: pytest.MonkeyPatch) -> Frames:
    return Frames(session, monkeypatch)


@pytest.mark.parametrize("answer", [True, False])
def test_a_sequence_says_what_siril_made_of_its_files(
    session: Session, frames: Frames, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        session.si, "create_new_seq", lambda name: made.append(name) or answer, raising=False
    )
    (session.siril.folder / "starless_l_00009.fit").touch()
    (session.siril.folder / "starless_l_9.fit").touch()
    assert session.command("-sequence=l_") is None
    assert made == ["starless_l_", "starmask_l_"]
    said = [text for text in session.siril.messages if "sequence" in text]
    assert said[0] == (
        "nox: the sequence starless_l_ takes in 1 files of an earlier run (starless_l_00009.fit); "
        "remove them if they do not belong to it"
    )
    assert said[1:] == ([] if answer else [
        f"nox: Siril made no sequence of {name}; the files are there" for name in made
    ])  # fmt: skip


def test_a_stop_between_frames_says_what_is_done(session: Session, frames: Frames) -> None:
    frames.stop_at = "l_00002.fit"
    said = session.command("-sequence=l_")
    assert said == "nox: stopped; 1 of 3 frames are done"
    assert frames.files() == ["starless_l_00001.fit", "starmask_l_00001.fit"]
    assert [line for line in session.siril.messages if "stars removed" in line] == [
        "nox: stars removed from 1 of 3 frames by stand-in 1.0 on cpu, stretch none"
    ]


def test_a_sequence_tells_what_ran_and_each_note_once(
    session: Session, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []

    class FallsBack(StandIn):
        """Loses its device at the second frame, as a graphics card whose memory is full."""

        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            if len(calls) == 1:
                self.device = "cpu"
                self.notes.append("cuda ran out of memory; running on the CPU")
            calls.append(pictures.shape)
            return super().__call__(pictures)

    model = FallsBack()
    model.device = "cuda"
    monkeypatch.setattr(session.nox, "make_remover", lambda *_: StarRemover(model, tile=512))
    assert session.command("-sequence=l_") is None
    assert len(calls) == 3
    assert session.siril.messages[:-1] == [
        "nox: stars removed from 1 of 3 frames by stand-in 1.0 on cuda, stretch none",
        "nox: stars removed from 2 of 3 frames by stand-in 1.0 on cpu, stretch none",
        "nox: 2 of 3 frames: cuda ran out of memory; running on the CPU",
    ]
    assert session.siril.messages[-1].startswith("nox: 6 files written in ")


def test_the_notes_of_a_sequence_stay_few(nox: ModuleType) -> None:
    done = nox.Frames(40)
    model, used = SimpleNamespace(name="m", version="1"), SimpleNamespace(kind="none")
    for k in range(40):
        result = nox.Result(np.empty(0), model, used, "cpu", 0.1, (f"{k} objects stay",))
        done.add(result, [])
    assert len(done.lines()) == 1 + nox.NOTES + 1
    assert done.lines()[-1][0] == f"and {40 - nox.NOTES} more such notes"


def test_a_sequence_of_raw_mosaics_is_warned_of_once(session: Session, frames: Frames) -> None:
    frames.headers = dict.fromkeys(frames.names, "BAYERPAT= 'RGGB    '\n")
    assert session.command("-sequence=l_") is None
    (said,) = [line for line in session.siril.messages if "raw colour mosaic" in line]
    assert said.startswith("nox: l_00001.fit is a raw colour mosaic")
    assert len(frames.files()) == 6


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
        ("SirilError", "Siril lost it"),
        (MemoryError(), "out of memory"),
    ],
    ids=["os", "siril", "memory"],
)
def test_a_frame_that_fails_is_named_with_what_was_written(
    session: Session, frames: Frames, error: Any, what: str
) -> None:
    if error == "SirilError":
        error = session.nox.SirilError("Siril lost it")
    frames.fails["l_00002.fit"] = error
    said = session.command("-sequence=l_")
    assert said == (
        f"nox: error: frame 2 of 3, l_00002.fit: {what}; 2 files were written before it"
    )
    assert session.siril.messages == [
        "nox: stars removed from 1 of 3 frames by stand-in 1.0 on cpu, stretch none", said,
    ]  # fmt: skip
    assert frames.files() == ["starless_l_00001.fit", "starmask_l_00001.fit"]


def test_a_selection_that_a_frame_does_not_hold_names_the_frame(
    session: Session, frames: Frames
) -> None:
    session.siril.selection = (0, 0, 5000, 20)
    said = session.command("-sequence=l_", "-selection")
    assert said is not None
    assert said.startswith("nox: error: frame 1 of 3, l_00001.fit: the region")
    assert said.endswith("; 0 files were written before it")
    assert frames.files() == []
