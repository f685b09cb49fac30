"""From a checkpoint to an ONNX file that carries its own facts.

The graph is NCHW without a transpose, for any batch, height and width; its
output is checked against Keras before the file gets its name.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nox_runtime.errors import ModelError
from nox_runtime.model import ModelFacts
from nox_runtime.tiling import FEATHER, Span
from nox_train import graph, half
from nox_train.checkpoint import PLAN_KEY, Checkpoint
from nox_train.plans import GeneratorPlan

OPSET = 17
#: The exported model may differ from Keras by no more than this.
TOLERANCE = 1e-5
#: Influence of what lies farther away below this does not count: two tiles that each differ
#: by it from the whole stay within the 1e-4 that tiles may cost.
INFLUENCE = 4e-5
_CHECKED_SIZES = ((1, 4, 4), (2, 6, 5), (1, 8, 12))  # batch, and sides in multiples
_CHECKED_COARSE = ((1, 1, 1), (2, 2, 1), (1, 1, 3))  # for the original's 256 px
#: Key of the arithmetic in the metadata of a model in half precision.
PRECISION_KEY = "nox_train.precision"


class ExportError(ValueError):
    """The exported model is not what it should be."""


def to_onnx(checkpoint: Checkpoint) -> Any:
    """Convert the averaged generator to an ONNX model in memory.

    Raises
    ------
    ExportError
        The graph has a Transpose, or a size that is not free.
    """
    import tensorflow as tf
    import tf2onnx

    model = checkpoint.build()
    channels = checkpoint.plan.channels

    def picture_to_starless(picture: tf.Tensor) -> tf.Tensor:
        return model(picture, training=False)

    signature = [tf.TensorSpec((None, None, None, channels), tf.float32, name="picture")]
    onnx_model, _ = tf2onnx.convert.from_function(
        tf.function(picture_to_starless, input_signature=signature),
        input_signature=signature,
        opset=OPSET,
        inputs_as_nchw=["picture"],
        outputs_as_nchw=["Identity:0"],
    )
    graph.with_transposed_convolutions(onnx_model)
    _name(onnx_model, channels)
    kinds = sorted({node.op_type for node in onnx_model.graph.node})
    if "Transpose" in kinds:
        raise ExportError(f"the exported graph has a Transpose (operators: {', '.join(kinds)})")
    return onnx_model


def _name(model: Any, channels: int) -> None:
    """Give input, output and their free sides names that say what they are."""
    made = model.graph
    for value, new in ((made.input[0], "picture"), (made.output[0], "starless")):
        old = value.name
        for node in made.node:
            node.input[:] = [new if n == old else n for n in node.input]
            node.output[:] = [new if n == old else n for n in node.output]
        value.name = new
        dims = value.type.tensor_type.shape.dim
        for dim, side in zip(dims, ("batch", channels, "height", "width"), strict=True):
            dim.Clear()
            if isinstance(side, int):
                dim.dim_value = side
            else:
                dim.dim_param = side


def weights_sha256(model: Any) -> str:
    """Hash of an ONNX model's weights: names and bytes, in graph order."""
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        digest.update(tensor.name.encode())
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def _session(model: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _scenes(channels: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Four scenes to measure with, (1, channels, size, size): few, many, large, giant stars."""
    from nox_train import backgrounds, psf, stars
    from nox_train.recipes import Recipe
    from nox_train.scenes import compose

    fields = []
    for vanes, density in ((0, 800), (4, 4000), (4, 150)):
        optics = psf.Optics(fwhm=3.5, lambda_over_d=1.2 * bool(vanes), vanes=vanes,
                            obstruction=0.3, aureole_share=0.08)  # fmt: skip
        population = stars.Population(density=density, slope=0.6)
        fields.append(stars.star_field(1024, optics, population, rng))
    made = [compose(backgrounds.procedural(size, rng), f, rng, size=size).input for f in fields]
    giant = Recipe(boost=300.0, most=0.7, saturated=0.3)
    ground = backgrounds.procedural(size, rng)
    made.append(compose(ground, fields[-1], rng, size=size, recipe=giant).input)
    return [np.ascontiguousarray(scene[:channels][None], np.float32) for scene in made]


def measure_receptive_field(session: Any, channels: int, multiple: int, seed: int = 5) -> int:
    """How far away a pixel can be and still change another.

    The middle of a scene is compared between the whole scene and ever smaller cuts
    of it, which is what tiling does; the smallest margin on which all scenes differ
    by less than `INFLUENCE` everywhere is the answer.  As in `nox_runtime.tiling`, half
    of the fade between tiles reaches into the margin, and counts by its weight.

    Returns
    -------
    int
        Pixels, a multiple of `multiple`.
    """
    rng = np.random.default_rng(seed)
    most = 256 // multiple * multiple
    size = -(-(2 * most + multiple + 256) // multiple) * multiple
    scenes = _scenes(channels, size, rng)
    margins = list(range(multiple, most + 1, multiple))
    fade = min(FEATHER, multiple)
    weight = Span(0, 0, 0, multiple + fade, fade, fade).weights()
    weight = weight[:, None] * weight
    for picture in scenes:
        whole = session.run(None, {"picture": picture})[0]
        while margins:
            m, at = margins[0], (size // 2 // multiple) * multiple
            worst = 0.0
            for shift in (0, -96 // multiple * multiple):
                y = at + shift
                cut = picture[:, :, y - m : y + multiple + m, y - m : y + multiple + m]
                made = session.run(None, {"picture": np.ascontiguousarray(cut)})[0]
                first, last = m - fade // 2, m + multiple + fade // 2
                inner = made[:, :, first:last, first:last]
                first, last = first + y - m, last + y - m
                wanted = whole[:, :, first:last, first:last]
                worst = max(worst, float((weight * np.abs(inner - wanted)).max()))
            if worst < INFLUENCE:
                break
            margins.pop(0)
    if not margins:
        raise ExportError(f"pixels more than {most} away still change a pixel by {INFLUENCE}")
    return margins[0]


def check(session: Any, checkpoint: Checkpoint, seed: int = 3) -> float:
    """Largest difference between the exported model and Keras, on three sizes.

    Raises
    ------
    ExportError
        It is above `TOLERANCE`.
    """
    model, plan = checkpoint.build(), checkpoint.plan
    rng, worst = np.random.default_rng(seed), 0.0
    for batch, h, w in _CHECKED_SIZES if plan.multiple <= 64 else _CHECKED_COARSE:
        shape = (batch, h * plan.multiple, w * plan.multiple, plan.channels)
        picture = rng.random(shape, dtype=np.float32) ** 3
        wanted = np.moveaxis(np.asarray(model(picture, training=False)), -1, 1)
        nchw = np.ascontiguousarray(np.moveaxis(picture, -1, 1))
        made = session.run(None, {"picture": nchw})[0]
        worst = max(worst, float(np.abs(made - wanted).max()))
    if not worst <= TOLERANCE:
        raise ExportError(
            f"the exported model differs from Keras by {worst:.2e}, more than {TOLERANCE:.0e}"
        )
    return worst


def export(
    checkpoint_path: Path,
    output: Path,
    *,
    name: str,
    version: str,
    licence: str = "MIT",
    history: str = "",
) -> dict[str, Any]:
    """Write a checkpoint as an ONNX model with all facts in its metadata.

    `history` tells of trainings before the checkpoint's own, from whose weights it
    started.

    Returns
    -------
    dict
        The facts, the largest ``difference`` from Keras and the file's size in ``bytes``.

    Raises
    ------
    ExportError
        A check failed; no file is written.
    """
    import onnx

    checkpoint = Checkpoint.load(checkpoint_path)
    plan = checkpoint.plan
    model = to_onnx(checkpoint)
    session = _session(model)
    difference = check(session, checkpoint)
    if history:
        checkpoint.progress["history"] = history
    facts = ModelFacts(
        name=name, version=version, channels=plan.channels, layout="NCHW",
        value_range=(0.0, 1.0), multiple=plan.multiple,
        receptive_field=_receptive_field(session, plan),
        stretch="display range: mtf with midtones of 0.001 to 0.45, asinh, GHS, curves",
        training=checkpoint.told, licence=licence, weights_sha256=weights_sha256(model),
    )  # fmt: skip
    network = {PLAN_KEY: json.dumps(plan.as_dict())}
    onnx.helper.set_model_props(model, facts.to_metadata() | network)
    model.doc_string = f"{name} {version}: star removal, {licence}"
    model.producer_name = "nox-export"
    return _written(model, output) | {"difference": difference}


def _receptive_field(session: Any, plan: GeneratorPlan) -> int:
    """As measured; the original's reaches over the whole picture: its own overlap then."""
    try:
        return measure_receptive_field(session, plan.channels, plan.multiple)
    except ExportError:
        if plan.architecture == "residual":
            raise
        return plan.multiple


def _written(model: Any, output: Path) -> dict[str, Any]:
    """Write a checked model, whole or not at all; return its metadata and size."""
    import onnx

    onnx.checker.check_model(model)
    temporary = output.with_name(output.name + ".part")
    onnx.save(model, str(temporary))
    os.replace(temporary, output)
    metadata = {p.key: p.value for p in model.metadata_props if p.key.startswith("nox.")}
    return {**metadata, "bytes": output.stat().st_size}


def export_half(single_path: Path, output: Path) -> dict[str, Any]:
    """Write an exported model once more, in half precision; see `nox_train.half`.

    All facts are kept, but for the hash of the weights.

    Returns
    -------
    dict
        As `export`; ``difference`` is the largest from the model in single precision, on
        four scenes of 512 px.

    Raises
    ------
    ExportError
        The model cannot be converted, or differs by too much; no file is written.
    """
    import onnx
    from google.protobuf import message

    try:
        single = onnx.load(str(single_path))
        metadata = {p.key: p.value for p in single.metadata_props}
        facts = ModelFacts.from_metadata(metadata, single_path)
        if PRECISION_KEY in metadata:
            raise ExportError(f"{single_path}: is in half precision already; give the single one")
        made = half.to_half(single)
        size = -(-512 // facts.multiple) * facts.multiple
        scenes = _scenes(facts.channels, size, np.random.default_rng(7))
        difference = half.check(_session(single), _session(made), scenes)
    except ExportError:
        raise
    except message.DecodeError as error:
        raise ExportError(f"{single_path}: not an ONNX model ({error})") from error
    except ModelError as error:
        raise ExportError(str(error)) from error
    except ValueError as error:
        raise ExportError(f"{single_path}: {error}") from error
    metadata["nox.weights_sha256"] = json.dumps(weights_sha256(made))
    onnx.helper.set_model_props(made, metadata | {PRECISION_KEY: "float16"})
    return _written(made, output) | {"difference": difference}
