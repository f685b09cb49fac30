"""Which device runs the model, and how large a tile its memory takes."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path

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
_LARGEST = {"cpu": 2304}
_LARGEST_GPU = 3072
#: Where it is not known how much is free.
_UNKNOWN = 1536
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
    """Bytes free on a device, or None where that cannot be known.

    Of several GPUs that of the first in ``CUDA_VISIBLE_DEVICES``; of the machine's memory
    what the control groups of a container or batch system leave.
    """
    if device in ("cuda", "tensorrt"):
        return _free_on_gpu()
    if device != "cpu":
        return None
    limits = [known for known in (_free_in_machine(), _free_in_groups()) if known is not None]
    return min(limits) if limits else None


def _free_on_gpu() -> int | None:
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        first = visible.split(",")[0].strip()
        if not first or first.startswith("-"):  # none is visible
            return None
        command.append(f"--id={first}")  # a number or the start of a UUID, as CUDA takes them
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return int(said.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _free_in_machine() -> int | None:
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


#: Names in a control group, versions 2 and 1: limit, use, and the part of the use that is
#: cached files, which give way.
_GROUP_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def _free_in_groups(root: Path = Path("/")) -> int | None:
    """What the memory limits of this process's control groups leave, if there are any."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return None
    left = []
    for line in lines:
        number, kinds, within = line.split(":", 2)
        version = 2 if number == "0" and not kinds else 1
        if version == 1 and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
        own = top / within.strip("/")
        # A limit holds for all groups below; a container may not see where it is itself.
        for group in (own, *own.parents):
            left.append(_free_in_group(group, *_GROUP_FILES[version]))
            if group == top:
                break
    known = [free for free in left if free is not None]
    return min(known) if known else None


def _free_in_group(group: Path, limit: str, use: str, cached: str) -> int | None:
    try:
        most, used = (int((group / name).read_text()) for name in (limit, use))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
    try:
        stat = (group / "memory.stat").read_text().splitlines()
        used -= int(dict(line.split(" ", 1) for line in stat).get(cached, 0))
    except (OSError, ValueError):
        pass
    return max(0, most - used)


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
        side = largest = _UNKNOWN
    else:
        side = math.isqrt(int(free * 0.4 / PIXEL_BYTES))
    return max(_SMALLEST, min(side, largest) // scale // 64 * 64)
