"""Every kind of remover behind the one call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from nox_runtime.errors import ModelError, NoxError, UsageError
from nox_train.benchmark import classical, peers
from nox_train.benchmark.removers import (
    Adapter,
    CommandRemover,
    FunctionRemover,
    NoxRemover,
    OnnxRemover,
    read_unit,
    write16,
)
from nox_train.benchmark.scene import Scene, unit

ROOT = Path(__file__).resolve().parents[3]
STARREM = ROOT.parent / "shared" / "peers" / "starrem2k13.onnx"


def darker(picture: np.ndarray) -> np.ndarray:
    return picture * np.float32(0.5)


def onnx_model(path: Path, layout: str = "NCHW", channels: int = 3, factor: float = 0.5) -> Path:
    """A model that multiplies; what it is given shows in what comes back."""
    onnx = pytest.importorskip("onnx")
    shape = {"NCHW": [1, channels, 64, 64], "NHWC": [1, 64, 64, channels], "NHW": [1, 64, 64]}
    value = onnx.helper.make_tensor("f", onnx.TensorProto.FLOAT, [], [factor])
    given, made = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape[layout]) for n in "xy"
    )
    node = onnx.helper.make_node("Mul", ["x", "f"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [given], [made], [value])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_a_function_sees_linear_pictures_stretched(linear: Scene) -> None:
    seen = []

    def watch(picture: np.ndarray) -> np.ndarray:
        seen.append(picture)
        return picture

    made = FunctionRemover(watch).remove(linear.picture, True)
    assert np.median(seen[0]) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(made, linear.picture)
    FunctionRemover(watch, takes_linear=True).remove(linear.picture, True)
    np.testing.assert_array_equal(seen[1], linear.picture)


def test_what_a_function_makes_of_a_linear_picture_is_brought_back(linear: Scene) -> None:
    truth = linear.display(unit(linear.truth))
    made = FunctionRemover(lambda p: truth).remove(linear.picture, True)
    # The truth's clipped shadows cannot be known from the display: they stay the input's.
    np.testing.assert_allclose(linear.display(made), truth, atol=2e-3)


def test_a_command_reads_and_writes_files(colour: Scene, linear: Scene, tmp_path: Path) -> None:
    script = tmp_path / "my remover.py"
    script.write_text(
        "import sys, tifffile\n"
        "tifffile.imwrite(sys.argv[2], tifffile.imread(sys.argv[1]) // 2, photometric='rgb')\n"
    )
    remover = CommandRemover(f"'{sys.executable}' '{script}' {{input}} {{output}}")
    made = remover.remove(colour.picture, False)
    np.testing.assert_allclose(made, colour.picture / 2, atol=2e-5)


def test_a_command_that_copies_leaves_every_pixel(scene: Scene) -> None:
    copy = f"{sys.executable} -c 'import shutil, sys; shutil.copy(*sys.argv[1:])'"
    for ending in ("tif", "fits", "png"):
        remover = CommandRemover(f"{copy} {{input}} {{output}}", ending=ending, takes_linear=True)
        np.testing.assert_array_equal(remover.remove(scene.picture, False), scene.picture)


def test_a_command_that_fails_is_named(colour: Scene) -> None:
    failing = f"{sys.executable} -c 'raise SystemExit(\"no licence\")' {{input}} {{output}}"
    with pytest.raises(NoxError, match=r"code 1 and no output \(no licence"):
        CommandRemover(failing).remove(colour.picture, False)
    idle = f"{sys.executable} -c 'pass' {{input}} {{output}}"
    with pytest.raises(NoxError, match="code 0 and no output"):
        CommandRemover(idle).remove(colour.picture, False)
    with pytest.raises(NoxError, match="did not run"):
        CommandRemover("no-such-program {input} {output}").remove(colour.picture, False)
    with pytest.raises(UsageError, match="must hold both"):
        CommandRemover("starnet2 {input}")
    with pytest.raises(UsageError, match="format is 'gif'"):
        CommandRemover("a {input} {output}", ending="gif")


@pytest.mark.parametrize(
    ("layout", "channels"), [("NCHW", 1), ("NCHW", 3), ("NHWC", 1), ("NHWC", 3), ("NHW", 1)]
)
def test_an_onnx_model_in_any_layout(layout: str, channels: int, tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx", layout, channels)
    remover = OnnxRemover(path, Adapter(layout, channels, scale=2.0, tile=64, overlap=16))
    picture = np.random.default_rng(1).random((3, 100, 150)).astype(np.float32)
    np.testing.assert_allclose(remover.remove(picture, False), picture / 2, atol=1e-6)
    mono = picture[:1]
    np.testing.assert_allclose(remover.remove(mono, False), mono / 2, atol=1e-6)


def test_a_model_that_gives_stars_is_subtracted(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx", factor=0.25)
    remover = OnnxRemover(path, Adapter(tile=64, overlap=0, gives="stars"))
    picture = np.random.default_rng(1).random((3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(remover.remove(picture, False), 0.75 * picture, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "cannot be read"),
        ('{"size": 3}', "keys of"),
        ('{"layout": "CHW"}', "layout is 'CHW'"),
        ('{"channels": 4}', "channels must be 1 or 3"),
        ('{"tile": 64, "overlap": 64}', "overlap"),
    ],
)
def test_a_wrong_adapter_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        Adapter.read(tmp_path / "a.json")


def test_finding_removers(tmp_path: Path) -> None:
    assert peers.find("identity").name == "identity"
    assert peers.find("a {input} {output}", takes_linear=True).takes_linear  # type: ignore[attr-defined]
    assert peers.find("os.path:basename").name == "os.path:basename"
    path = onnx_model(tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="--adapter"):
        peers.find(str(path))
    (tmp_path / "a.json").write_text(json.dumps({"tile": 64, "overlap": 8, "name": "half"}))
    assert peers.find(str(path), adapter=tmp_path / "a.json").name == "half"
    for name, words in (
        ("nothing", "no such remover"),
        ("os.path:nothing", "no such function"),
        ("os:sep", "not a function"),
        ("no_such_module:f", "no such function"),
    ):
        with pytest.raises(UsageError, match=words):
            peers.find(name)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no ONNX model"):
        peers.find(str(tmp_path / "bad.onnx"), adapter=tmp_path / "a.json")


def test_noxs_own_model_by_default_and_by_name() -> None:
    remover = peers.find(None)
    assert isinstance(remover, NoxRemover)
    assert remover.facts["kind"] == "nox"
    picture = np.full((1, 64, 64), 0.2, np.float32)
    picture[0, 30:33, 30:33] = 0.9
    assert remover.remove(picture, False)[0, 31, 31] < 0.8
    assert remover.with_tile(128).remove(picture, False).shape == picture.shape
    assert peers.find(remover.name).name == remover.name


def test_opening_takes_what_is_narrow_and_keeps_what_is_wide() -> None:
    yy, xx = np.mgrid[:80, :80]
    picture = np.full((1, 80, 80), 0.1)
    picture[0, np.hypot(yy - 20, xx - 20) < 4] = 0.9
    picture[0, np.hypot(yy - 55, xx - 55) < 12] = 0.9
    made = peers.opening(picture)
    assert made[0, 20, 20] == pytest.approx(0.1)
    assert made[0, 55, 55] == pytest.approx(0.9)
    assert (made <= picture).all()


def test_the_classical_remover_removes_stars() -> None:
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[:200, :200]
    truth = 0.15 + rng.normal(0, 0.006, (1, 200, 200))
    picture = truth.copy()
    for _ in range(45):
        x, y = rng.uniform(10, 190, 2)
        star = 10 ** rng.uniform(-1, 0.3) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 5.0)
        picture[0] += star
    picture = picture.clip(0, 1).astype(np.float32)
    made = classical.remove(picture)
    assert made.shape == picture.shape
    light, left = (picture - truth).clip(0).sum(), (made - truth).clip(0).sum()
    noise = (truth - 0.15).clip(0).sum()
    assert left < 0.12 * light + 0.2 * noise
    again = classical.remove(picture)
    np.testing.assert_array_equal(made, again)


def test_the_classical_remover_leaves_an_empty_sky_alone() -> None:
    sky = (0.2 + np.random.default_rng(1).normal(0, 0.01, (3, 96, 96))).astype(np.float32)
    made = classical.remove(sky)
    assert (made == sky).mean() > 0.97


@pytest.mark.skipif(not STARREM.exists(), reason="no weights of starrem2k13 beside the checkout")
def test_starrem2k13_is_known_by_its_bytes() -> None:
    remover = peers.find(str(STARREM), threads=1)
    assert remover.name == "starrem2k13"
    yy, xx = np.mgrid[:96, :96]
    picture = (0.15 + 0.8 * np.exp(-((xx - 48) ** 2 + (yy - 48) ** 2) / 6.0)).astype(np.float32)
    made = remover.remove(picture[None], False)
    assert made.shape == (1, 96, 96)
    assert made[0, 48, 48] < 0.6
    assert np.median(made) == pytest.approx(0.15, abs=0.05)


def test_pictures_are_read_to_the_unit_range(tmp_path: Path) -> None:
    from astropy.io import fits

    picture = np.random.default_rng(1).random((3, 20, 30)).astype(np.float32)
    for ending in ("tif", "png", "fits"):
        write16(tmp_path / f"a.{ending}", picture)
        back, eight = read_unit(tmp_path / f"a.{ending}")
        np.testing.assert_allclose(back, picture, atol=1e-5)
        assert not eight
    adu = np.array([[-20.0, np.nan], [1000.0, 4000.0]], np.float32)
    fits.writeto(tmp_path / "adu.fits", adu)
    back, _ = read_unit(tmp_path / "adu.fits")
    assert (back.min(), back.max()) == (0, 1)
    assert np.isfinite(back).all()
    # What a program wrote keeps its scale: one pixel beyond 1 moves no other.
    picture[0, 3, 4], picture[0, 5, 6] = -0.02, 1.03
    fits.writeto(tmp_path / "over.fits", picture)
    for name, white in (("eight", 255), ("sixteen", 65535)):
        fits.writeto(tmp_path / f"{name}.fits", picture * white)
    fits.writeto(tmp_path / "signed.fits", (picture.clip(0, 1) * 32767).round().astype("i2"))
    for name in ("over", "eight", "sixteen", "signed"):
        back, _ = read_unit(tmp_path / f"{name}.fits", spanned=False)
        wanted, most = (picture.clip(0, 1), 2e-5) if name == "signed" else (picture, 1e-6)
        np.testing.assert_allclose(back, wanted, atol=most)
    fits.writeto(tmp_path / "nan.fits", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(NoxError, match="no finite value"):
        read_unit(tmp_path / "nan.fits")
