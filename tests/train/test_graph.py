"""Graphs changed after export calculate the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("keras")

from nox_train.checkpoint import Checkpoint
from nox_train.graph import pointwise, with_transposed_convolutions
from nox_train.networks import OneBias, build_generator
from nox_train.plans import GeneratorPlan

NETWORK = GeneratorPlan(widths=(8, 12, 16), bottom_blocks=1)


def growing(bias: np.ndarray | None, mode: str = "DCR", inside: int = 5) -> onnx.ModelProto:
    """A graph of a 1x1 convolution and a shuffle; without `bias` it has none."""
    kernel = np.random.default_rng(1).standard_normal((12, inside, 1, 1)).astype(np.float32)
    stored = [numpy_helper.from_array(kernel, "kernel")]
    if bias is not None:
        stored.append(numpy_helper.from_array(bias.astype(np.float32), "bias"))
    nodes = [
        helper.make_node("Conv", ["x", *(t.name for t in stored)], ["wide"], name="grow"),
        helper.make_node("DepthToSpace", ["wide"], ["y"], blocksize=2, mode=mode),
    ]
    ends = (("x", [1, inside, "h", "w"]), ("y", [1, 3, "high", "wide"]))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in ends)
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def result(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(2).standard_normal((1, 5, 6, 7)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("bias", [None, np.tile([0.5, -1.0, 2.0], 4)])
def test_a_convolution_and_its_shuffle_become_one(bias: np.ndarray | None) -> None:
    model = growing(bias)
    before = result(model)
    assert with_transposed_convolutions(model) == 1
    assert [n.op_type for n in model.graph.node] == ["ConvTranspose"]
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(result(model), before, atol=1e-5)


@pytest.mark.parametrize(
    "model", [growing(np.arange(12.0)), growing(None, mode="CRD")], ids=["biases", "order"]
)
def test_what_is_not_the_same_stays(model: onnx.ModelProto) -> None:
    before = result(model)
    assert with_transposed_convolutions(model) == 0
    np.testing.assert_array_equal(result(model), before)


def test_the_way_back() -> None:
    model = growing(np.tile([0.5, -1.0, 2.0], 4))
    kernel, bias = (numpy_helper.to_array(t) for t in model.graph.initializer)
    with_transposed_convolutions(model)
    changed = (numpy_helper.to_array(t) for t in model.graph.initializer)
    for made, wanted in zip(pointwise(*changed), (kernel, bias), strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_an_exported_network_has_them_and_is_read_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("tf2onnx")
    from nox_train.export import export

    network = build_generator(NETWORK)
    rng = np.random.default_rng(4)
    for layer in network.layers:
        if layer.get_weights():
            kernel, bias = layer.get_weights()
            bias = rng.standard_normal(bias.shape).astype(np.float32)
            if layer.name.startswith("grow"):
                bias = np.asarray(OneBias(len(bias) // 4)(bias))
            layer.set_weights([kernel, 0.1 * bias])
    weights = network.get_weights()
    path = tmp_path / "best.npz"
    Checkpoint(NETWORK, {"step": 7, "seconds": 60}, weights, [], []).save(path)
    out = tmp_path / "tiny.onnx"
    export(path, out, name="tiny", version="1")
    kinds = [node.op_type for node in onnx.load(out).graph.node]
    assert kinds.count("ConvTranspose") == 2
    assert kinds.count("DepthToSpace") == 1  # the head's
    for made, wanted in zip(Checkpoint.read(out).weights, weights, strict=True):
        np.testing.assert_array_equal(made, wanted)
