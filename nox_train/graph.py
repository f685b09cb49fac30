"""Changes to an exported graph that leave what it calculates as it is."""

from __future__ import annotations

from typing import Any

import numpy as np


def with_transposed_convolutions(model: Any) -> int:
    """Make one transposed convolution of each 1x1 convolution and the shuffle after it.

    ONNX Runtime does the two of them in three times as long on a CPU: the shuffle
    goes over the whole tensor on one core.  Only where the four pixels of a cell have one bias
    (`nox_train.networks.OneBias`); others stay as they are.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.

    Returns
    -------
    int
        How many were made.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    uses: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    made = 0
    for node in list(graph.node):
        after = uses.get(node.output[0], [])
        if node.op_type != "Conv" or len(after) != 1 or not _fills_a_cell(after[0]):
            continue
        kernel, *rest = (numpy_helper.to_array(stored[name]) for name in node.input[1:])
        if kernel.shape[2:] != (1, 1) or len(uses[node.input[1]]) > 1:
            continue
        bias = rest[0].reshape(4, -1) if rest else None
        if bias is not None and np.any(bias != bias[0]):
            continue
        four = kernel[:, :, 0, 0].reshape(2, 2, len(kernel) // 4, kernel.shape[1])
        _store(stored[node.input[1]], np.ascontiguousarray(four.transpose(3, 2, 0, 1)))
        if bias is not None:
            _store(stored[node.input[2]], np.ascontiguousarray(bias[0]))
        grown = helper.make_node(
            "ConvTranspose", node.input, after[0].output, name=node.name,
            kernel_shape=[2, 2], strides=[2, 2],
        )  # fmt: skip
        node.CopyFrom(grown)
        graph.node.remove(after[0])
        made += 1
    if made:
        del graph.value_info[:]  # they tell the shapes of before
    return made


def _fills_a_cell(node: Any) -> bool:
    """Whether a node shuffles four channels into the pixels of a cell, TensorFlow's way."""
    attributes = {a.name: a for a in node.attribute}
    if node.op_type != "DepthToSpace" or attributes["blocksize"].i != 2:
        return False
    return "mode" not in attributes or attributes["mode"].s == b"DCR"


def _store(tensor: Any, values: np.ndarray) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def pointwise(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the 1x1 convolution that a transposed one was made of.

    Parameters
    ----------
    kernel : ndarray, shape (in, out, 2, 2)
    bias : ndarray, shape (out,)

    Returns
    -------
    kernel : ndarray, shape (4 out, in, 1, 1)
    bias : ndarray, shape (4 out,)
    """
    inside, out = kernel.shape[:2]
    four = kernel.transpose(2, 3, 1, 0).reshape(4 * out, inside)
    return four[:, :, None, None], np.tile(bias, 4)
