"""Which device runs the model, and how large a tile its memory takes."""

from __future__ import annotations

import math
import os
import subprocess

from nox_runtime.errors import DeviceError

#: Names of `--device` and the ONNX Runtime provider of each, best first.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
#: Minutes of building an engine at the first start: only for those who ask for it.
ON_REQUEST = ("tensorrt",)
#: Devices that compute in half precision faster than in single, and as well.
HALF = ("cuda", "tensorrt", "coreml", "dml")

#: Bytes of activations a pixel of a tile takes in single precision, measured with nox-1
#: on the CPU (187 at 512 px, 223 at 1536 px), and a little more.
PIXEL_BYTES = 256
#: Tiles need no more than this for speed; larger ones cost memory alone.
_LARGEST = {"cpu": 1536}
_LARGEST_GPU = 3072
_SMALLEST = 256

#: What allocators say when they fail, in lower case.
_FULL = (
    "out of memory", "failed to allocate", "bad_alloc", "bad allocation", "alloc_failed",
    "not enough memory", "e_outofmemory", "outofmemory",
)  # fmt: skip


def choose_providers(device: str, available: list[str]) -> tuple[list[str], list[str]]:
    """Which providers to ask ONNX Runtime for, and notes for the user.

    Parameters
    ----------
    device : str
        'auto' or a key of `PROVIDERS`.
    available : list of str
        What this build of ONNX Runtime has.

    Returns
    -------
    providers, notes : list of str

    Raises
    ------
    DeviceError
        An unknown device, or one this build cannot use.
    """
    if device == "auto":
        chosen = [p for name, p in PROVIDERS.items() if p in available and name not in ON_REQUEST]
        return chosen or [PROVIDERS["cpu"]], []
    if device not in PROVIDERS:
        raise DeviceError(f"device is {device!r}; it must be one of auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[device] not in available:
        raise DeviceError(
            f"device {device} is not in this build of ONNX Runtime (it has "
            f"{', '.join(available)}); use --device auto, or install the build for it"
        )
    providers = [PROVIDERS[device]]
    if device == "tensorrt" and PROVIDERS["cuda"] in available:
        providers.append(PROVIDERS["cuda"])  # for what TensorRT does not know
    if device != "cpu":
        providers.append(PROVIDERS["cpu"])
    return providers, []


def why(available: list[str]) -> list[str]:
    """A line on each device: whether it would be used, and why."""
    chosen = choose_providers("auto", available)[0][0]
    lines = []
    for name, provider in PROVIDERS.items():
        if provider not in available:
            reason = "not in this build of ONNX Runtime"
        elif name in ON_REQUEST:
            reason = f"there, but starts slowly: only with --device {name}"
        elif provider == chosen:
            reason = "would run: the first there"
        else:
            reason = "there; comes after another"
        lines.append(f"{name}: {reason}")
    return lines


def is_full(error: BaseException) -> bool:
    """Whether an exception says that a device's memory is full."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _FULL)


def free_memory(device: str) -> int | None:
    """Bytes free on a device, or None where that cannot be known."""
    if device in ("cuda", "tensorrt"):
        command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            return int(said.stdout.split()[0]) << 20
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return None
    if device != "cpu":
        return None
    try:
        with open("/proc/meminfo") as lines:
            known = dict(line.split(":", 1) for line in lines)
        return int(known["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def tile_for(device: str, free: int | None, scale: int = 1) -> int:
    """The side of the tiles that fit well into a device's memory.

    Parameters
    ----------
    device : str
    free : int, optional
        Bytes; where it is not known the CPU's size is taken.
    scale : int
        How much larger the model is shown the picture.

    Returns
    -------
    int
        Pixels of the picture, a multiple of 64.
    """
    largest = _LARGEST.get(device, _LARGEST_GPU)
    if free is None:
        largest = _LARGEST["cpu"]
        side = largest
    else:
        side = math.isqrt(int(free * 0.4 / PIXEL_BYTES))
    return max(_SMALLEST, min(side, largest) // scale // 64 * 64)
