"""Half precision for GPUs: an exported model with its weights and arithmetic in float16.

Input and output stay float32, and so does the head's last addition, the one to the
picture: pixels that the network leaves alone come back bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Largest finite number of half precision.
_MOST = 65504.0
#: The model in half precision may differ from that in single by no more than this.
TOLERANCE = 0.01


def to_half(model: Any) -> Any:
    """A copy of an ONNX model that calculates in half precision.

    Parameters
    ----------
    model : onnx.ModelProto
        Of one float32 input, whose output is the sum or difference of the input and what
        the network makes of it.

    Raises
    ------
    ValueError
        The model ends otherwise, or has weights beyond half precision.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    picture, starless = graph.input[0].name, graph.output[0].name
    head = next(n for n in graph.node if starless in n.output)
    if head.op_type not in ("Add", "Sub") or picture not in head.input:
        raise ValueError(
            f"the model's last node is {head.op_type} of {', '.join(head.input)}; half precision "
            "needs one that adds to the picture: give a model of this version of nox-export"
        )
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0) > _MOST:
                raise ValueError(f"the weights {tensor.name} are too large for half precision")
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                inner = numpy_helper.to_array(attribute.t)
                if inner.dtype == np.float32:
                    attribute.t.CopyFrom(numpy_helper.from_array(inner.astype(np.float16)))
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        if node is not head:
            node.input[:] = ["picture_half" if n == picture else n for n in node.input]
    made = next(name for name in head.input if name != picture)
    head.input[:] = [picture if name == picture else "made_single" for name in head.input]
    del graph.value_info[:]  # they tell the types of before
    into = helper.make_node(
        "Cast", [picture], ["picture_half"], name="picture_half", to=TensorProto.FLOAT16
    )
    back = helper.make_node("Cast", [made], ["made_single"], name="made_single",
                            to=TensorProto.FLOAT)  # fmt: skip
    nodes = [into, *graph.node]
    at = next(i for i, n in enumerate(nodes) if n.output == head.output)
    nodes.insert(at, back)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(half, full_check=True)
    return half


def check(single: Any, half: Any, scenes: Sequence[np.ndarray]) -> float:
    """Largest difference between two sessions' outputs over some scenes.

    Parameters
    ----------
    single, half : onnxruntime.InferenceSession
    scenes : sequence of ndarray, shape (1, C, H, W), float32
        Sides that the model takes.

    Raises
    ------
    ValueError
        It is above `TOLERANCE`.
    """
    worst = 0.0
    for picture in scenes:
        wanted, made = (s.run(None, {"picture": picture})[0] for s in (single, half))
        worst = max(worst, float(np.abs(made - wanted).max()))
    if not worst <= TOLERANCE:
        raise ValueError(
            f"in half precision the model differs by {worst:.3g}, more than {TOLERANCE:g}"
        )
    return worst
