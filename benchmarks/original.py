"""The architecture of the original nox, with random weights, to be timed.

Eight 4x4 convolutions of stride 2 down, eight transposed ones up, concatenated
skips, LayerNorm over the channels at each pixel, output = input - ReLU(last).
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

DOWN = (64, 128, 256, 512, 512, 512, 512, 512)
UP = (512, 512, 512, 512, 256, 128, 64)


def build(seed: int = 0) -> ModelProto:
    """The generator as an ONNX model: (1, 3, 512, 512) in and out, 54 M parameters."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], []

    def constant(name: str, shape: tuple[int, ...], scale: float) -> str:
        value = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        weights.append(numpy_helper.from_array(value, name))
        return name

    def norm(x: str, channels: int, tag: str) -> str:
        nodes.append(helper.make_node("Transpose", [x], [f"{tag}_t"], perm=[0, 2, 3, 1]))
        parts = [
            f"{tag}_t",
            constant(f"{tag}_s", (channels,), 1),
            constant(f"{tag}_b", (channels,), 0),
        ]
        nodes.append(helper.make_node("LayerNormalization", parts, [f"{tag}_n"], axis=-1))
        nodes.append(helper.make_node("Transpose", [f"{tag}_n"], [f"{tag}_o"], perm=[0, 3, 1, 2]))
        return f"{tag}_o"

    x, have, skips = "picture", 3, []
    for i, width in enumerate(DOWN):
        w = constant(f"down{i}_w", (width, have, 4, 4), 0.02)
        nodes.append(helper.make_node("Conv", [x, w], [f"down{i}"], strides=[2, 2], pads=[1] * 4))
        x, have = f"down{i}", width
        if 0 < i < len(DOWN) - 1:
            x = norm(x, width, f"down{i}")
        skips.append((x, width))
        nodes.append(helper.make_node("LeakyRelu", [x], [f"down{i}_a"], alpha=0.2))
        x = f"down{i}_a"
    for i, width in enumerate((*UP, 3)):
        w = constant(f"up{i}_w", (have, width, 4, 4), 0.02)
        nodes.append(
            helper.make_node("ConvTranspose", [x, w], [f"up{i}"], strides=[2, 2], pads=[1] * 4)
        )
        x, have = f"up{i}", width
        if i < len(UP):
            x = norm(x, width, f"up{i}")
            skip, extra = skips[-2 - i]
            nodes.append(helper.make_node("Concat", [x, skip], [f"up{i}_c"], axis=1))
            nodes.append(helper.make_node("Relu", [f"up{i}_c"], [f"up{i}_r"]))
            x, have = f"up{i}_r", width + extra
    nodes.append(helper.make_node("Relu", [x], ["residual"]))
    nodes.append(helper.make_node("Sub", ["picture", "residual"], ["starless"]))
    sides = [1, 3, 512, 512]
    graph = helper.make_graph(
        nodes,
        "original",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("starless", TensorProto.FLOAT, sides)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model
