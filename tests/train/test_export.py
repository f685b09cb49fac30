from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("tf2onnx")

from nox_runtime.model import ModelFacts, find_model, load_model
from nox_train import export as exporting
from nox_train.checkpoint import Checkpoint
from nox_train.cli import export_main
from nox_train.networks import build_generator
from nox_train.plans import GeneratorPlan

NETWORK = GeneratorPlan(widths=(8, 12, 16), bottom_blocks=1)


@pytest.fixture(scope="module", params=["subtract", "compose"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = replace(NETWORK, head=request.param)
    path = tmp_path_factory.mktemp("export") / "best.npz"
    Checkpoint(plan, {"step": 7, "seconds": 60}, build_generator(plan).get_weights(), [], []).save(
        path
    )
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    out = checkpoint.with_name("tiny.onnx")
    assert export_main(["onnx", str(checkpoint), "-o", str(out)]) == 0
    return out


def test_the_graph_is_clean(exported: Path) -> None:
    model = onnx.load(exported)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds <= {
        "Conv", "ConvTranspose", "Relu", "DepthToSpace", "SpaceToDepth", "Add", "Sub", "Mul",
    }  # fmt: skip
    assert model.opset_import[0].version == exporting.OPSET
    shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]


def test_any_batch_height_and_width(exported: Path) -> None:
    model = load_model(exported)
    for shape in ((1, 3, 8, 8), (3, 3, 64, 24), (2, 3, 40, 136)):
        made = model(np.random.default_rng(0).random(shape, np.float32))
        assert made.shape == shape


def test_all_facts_are_in_the_metadata(exported: Path) -> None:
    facts = load_model(exported).facts
    assert (facts.name, facts.channels, facts.layout, facts.multiple) == ("tiny", 3, "NCHW", 8)
    assert facts.value_range == (0.0, 1.0)
    assert "7 steps in 1 minutes" in facts.training
    assert facts.licence == "MIT"
    assert facts.weights_sha256 == exporting.weights_sha256(onnx.load(exported))
    assert facts.receptive_field % 8 == 0
    assert 0 < facts.receptive_field <= 64


def test_the_receptive_field_is_enough_on_pictures_it_was_not_measured_on(exported: Path) -> None:
    model = load_model(exported)
    m = model.facts.receptive_field
    picture = np.random.default_rng(9).random((1, 3, 256, 256), np.float32)
    whole = model(picture)[:, :, 120:136, 120:136]
    cut = slice(120 - m, 136 + m)
    part = model(np.ascontiguousarray(picture[:, :, cut, cut]))[:, :, m : m + 16, m : m + 16]
    assert np.abs(whole - part).max() < 1e-4


def test_a_file_that_differs_from_keras_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = exporting.to_onnx

    def spoiled(kept: Checkpoint) -> onnx.ModelProto:
        model = whole(kept)
        weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        values = np.frombuffer(weights.raw_data, np.float32) + np.float32(1e-3)
        weights.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(exporting, "to_onnx", spoiled)
    out = tmp_path / "spoiled.onnx"
    assert export_main(["onnx", str(checkpoint), "-o", str(out)]) == 1
    assert "differs from Keras by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_come_back_out_of_the_model(checkpoint: Path, exported: Path) -> None:
    kept, again = Checkpoint.load(checkpoint), Checkpoint.from_onnx(exported)
    assert again.plan == kept.plan
    for a, b in zip(again.weights, kept.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_wrong_checkpoint_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.npz"
    wrong.write_text("no")
    for path, says in ((wrong, "not a checkpoint"), (tmp_path / "none.npz", "no such checkpoint")):
        assert export_main(["onnx", str(path), "-o", str(tmp_path / "m.onnx")]) == 1
        err = capsys.readouterr().err
        assert f"{path}: {says}" in err
        assert "Traceback" not in err


def test_the_shipped_model_states_what_it_is() -> None:
    path = find_model(None)
    facts = load_model(path).facts
    metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert ModelFacts.from_metadata(metadata, path) == facts
    assert json.loads(metadata["nox.licence"]) == "MIT"
    assert facts.weights_sha256 == exporting.weights_sha256(onnx.load(path))
    assert path.stat().st_size <= 30e6


@pytest.fixture(scope="module")
def halved(exported: Path) -> Path:
    out = exported.with_name("tiny-fp16.onnx")
    assert export_main(["onnx", str(exported), "-o", str(out), "--fp16"]) == 0
    return out


def test_half_precision_keeps_the_contract(exported: Path, halved: Path) -> None:
    single, half = onnx.load(exported), onnx.load(halved)
    kinds = {t.data_type for t in half.graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    for one, two in zip(
        (*single.graph.input, *single.graph.output), (*half.graph.input, *half.graph.output),
        strict=True,
    ):  # fmt: skip
        assert one == two  # names, float32, free sides
    assert halved.stat().st_size < 0.7 * exported.stat().st_size
    facts, before = load_model(halved).facts, load_model(exported).facts
    assert facts.weights_sha256 == exporting.weights_sha256(half)
    assert facts.weights_sha256 != before.weights_sha256
    assert replace(facts, weights_sha256="") == replace(before, weights_sha256="")


def test_half_precision_agrees_and_leaves_pixels_alone(exported: Path, halved: Path) -> None:
    """On pictures that it was not checked on; where single changes nothing, half does not."""
    single, half = load_model(exported), load_model(halved)
    picture = np.random.default_rng(4).random((1, 3, 64, 96), np.float32) ** 2
    wanted, made = single(picture), half(picture)
    assert made.dtype == np.float32
    assert 0 < np.abs(made - wanted).max() < 2e-3
    assert not np.array_equal(wanted, picture)
    near = np.abs(wanted - picture).max(axis=1) < 1e-7
    assert np.abs(made - picture).max(axis=1)[near].max(initial=0) < 1e-3


def test_half_precision_from_a_checkpoint(
    checkpoint: Path, halved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("again-fp16.onnx")
    assert export_main(["onnx", str(checkpoint), "-o", str(out), "--fp16", "--name", "tiny"]) == 0
    assert "difference: " in capsys.readouterr().out
    picture = np.random.default_rng(6).random((1, 3, 32, 32), np.float32)
    np.testing.assert_allclose(load_model(out)(picture), load_model(halved)(picture), atol=1e-6)
    assert load_model(out).facts.name == "tiny"
    assert not list(out.parent.glob("*.part"))


def test_half_precision_reads_back(checkpoint: Path, halved: Path) -> None:
    kept, again = Checkpoint.load(checkpoint), Checkpoint.from_onnx(halved)
    for a, b in zip(again.weights, kept.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_halved_is_one_clear_line(
    halved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"\xff\xff no model")
    for path, says in ((halved, "is in half precision already"), (wrong, "not an ONNX model")):
        out = tmp_path / "out-fp16.onnx"
        assert export_main(["onnx", str(path), "-o", str(out), "--fp16"]) == 1
        error = capsys.readouterr().err.strip()
        assert says in error
        assert error.count(str(path)) == 1
        assert "\n" not in error
        assert not out.exists()


def test_a_half_that_differs_is_not_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(exporting.half, "TOLERANCE", 1e-9)
    out = tmp_path / "out-fp16.onnx"
    assert export_main(["onnx", str(exported), "-o", str(out), "--fp16"]) == 1
    assert "in half precision the model differs by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_original_generator_exports(tmp_path: Path) -> None:
    plan = GeneratorPlan(widths=(6, 8, 8), bottom_blocks=0, unshuffle=1, architecture="original")
    start, out = tmp_path / "best.npz", tmp_path / "original.onnx"
    Checkpoint(plan, {}, build_generator(plan).get_weights(), [], []).save(start)
    assert export_main(["onnx", str(start), "-o", str(out)]) == 0  # checked against Keras
    assert load_model(out).facts.multiple == 8
    with pytest.raises(ValueError, match="weights of the architecture 'original' are not read"):
        Checkpoint.from_onnx(out)
