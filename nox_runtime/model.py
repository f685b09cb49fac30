"""A model's facts, read from its ONNX metadata, and the session that runs it."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nox_runtime.devices import HALF, PROVIDERS, choose_providers, is_full
from nox_runtime.errors import DeviceError, MemoryFullError, ModelError, StoppedError, reason
from nox_runtime.interruption import Interruption

if TYPE_CHECKING:
    import onnxruntime

#: Prefix of nox's keys in an ONNX file's metadata.
PREFIX = "nox."
DEFAULT_MODEL = "nox-1"
#: A model in half precision lies beside the one in single: nox-1.onnx, nox-1-fp16.onnx.
_HALF_ENDING = "-fp16.onnx"
_NAMES = {provider: name for name, provider in PROVIDERS.items()}
_INSTALL = "pip install 'astronox[cpu]' (or 'astronox[gpu]' for NVIDIA)"


@dataclass(frozen=True)
class ModelFacts:
    """What a model says of itself.

    Attributes
    ----------
    name, version : str
    channels : int
        3 or 1.
    layout : str
        'NCHW'.
    value_range : tuple of float
        Lowest and highest value of input and output.
    multiple : int
        Sides of the input are multiples of this.
    receptive_field : int
        Pixels around a pixel that change it by more than 2e-5, measured.
    stretch : str
        The stretch of the pictures it was trained on.
    training : str
        One line on data and length of the training.
    licence : str
        SPDX expression.
    weights_sha256 : str
        Hash of the weights' bytes, in graph order.
    """

    name: str
    version: str
    channels: int
    layout: str
    value_range: tuple[float, float]
    multiple: int
    receptive_field: int
    stretch: str
    training: str
    licence: str
    weights_sha256: str

    def to_metadata(self) -> dict[str, str]:
        """Key-value strings for ONNX metadata_props; `from_metadata` reads them."""
        return {PREFIX + f.name: json.dumps(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], path: str | Path) -> ModelFacts:
        """Read the facts; refuse to guess any that is missing.

        Raises
        ------
        ModelError
            Not a model of nox, or one of a kind this version does not run.
        """
        values: dict[str, Any] = {}
        for f in fields(cls):
            text = metadata.get(PREFIX + f.name)
            if text is None:
                raise ModelError(
                    f"{path}: not a model for nox (its metadata has no {PREFIX + f.name}); "
                    "use one that nox-export wrote, or leave --model out for the built-in one"
                )
            try:
                values[f.name] = json.loads(text)
            except json.JSONDecodeError as error:
                raise ModelError(
                    f"{path}: damaged metadata ({PREFIX + f.name} is {text[:40]!r}); "
                    "export or fetch the model again"
                ) from error
        values["value_range"] = tuple(values["value_range"])
        facts = cls(**values)
        if facts.value_range != (0.0, 1.0):
            raise ModelError(
                f"{path}: wants values from {facts.value_range[0]} to {facts.value_range[1]}; this "
                "version runs models of 0 to 1: update with pip install -U astronox"
            )
        if facts.layout != "NCHW" or facts.channels not in (1, 3):
            raise ModelError(
                f"{path}: a model of layout {facts.layout} with {facts.channels} channels; this "
                "version runs NCHW with 1 or 3 channels: update with pip install -U astronox"
            )
        return facts


def models_folder() -> Path:
    """Where the models that came with nox are: in the wheel, or in a source tree."""
    inside = Path(str(resources.files("nox_runtime"))) / "models"
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / "models"


def user_folder() -> Path:
    """Where the models are that `nox_runtime.fetching` has fetched."""
    import pooch  # takes a while, and few have any

    return Path(pooch.os_cache("astronox")) / "models"


def built_in(name: str) -> Path | None:
    """Path of a model that came with nox."""
    path = models_folder() / f"{name}.onnx"
    return path if Path(name).name == name and path.is_file() else None


def find_model(name: str | Path | None) -> Path:
    """Path of a model: by name, built in (`nox-1`) or fetched, or by file; None is the default.

    Raises
    ------
    ModelError
        There is none.
    """
    if name is None:
        name = DEFAULT_MODEL
    path = Path(name)
    known = built_in(str(name))
    if known is not None:
        return known
    if path.is_file():
        return path
    fetched = user_folder() / f"{path.name}.onnx"
    if path.name == str(name) and fetched.is_file():
        return fetched
    names = ", ".join(p.stem for p in _model_files()) or "none"
    raise ModelError(
        f"{name}: no such model; give an .onnx file or the name of a built-in model ({names})"
    )


def _model_files() -> list[Path]:
    """Those that came with nox, and those fetched, in single precision."""
    files = [*sorted(models_folder().glob("*.onnx")), *sorted(user_folder().glob("*.onnx"))]
    return [p for p in files if not p.name.endswith(_HALF_ENDING)]


@dataclass(frozen=True)
class ModelEntry:
    """A model known by name: its name, file, facts and size in bytes; came with nox or not."""

    name: str
    path: Path
    facts: ModelFacts
    bytes: int
    fetched: bool = False


def available_models() -> list[ModelEntry]:
    """The models known by name, the default one first.

    Raises
    ------
    ModelError
        A file among them is damaged.
    """
    made = []
    for path in _model_files():
        facts = load_model(path, device="cpu", threads=1).facts
        fetched = path.parent != models_folder()
        made.append(ModelEntry(path.stem, path, facts, path.stat().st_size, fetched))
    return sorted(made, key=lambda entry: entry.name != DEFAULT_MODEL)


def available_devices() -> list[str]:
    """Names of the devices that this build of ONNX Runtime has, the preferred first.

    Raises
    ------
    ModelError
        ONNX Runtime is not installed.
    """
    there = _import_onnxruntime().get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in there]


@dataclass
class Model:
    """A loaded model: facts, session, and the device that really runs it.

    Call it with an array of shape (N, C, H, W), float32, in the display range, and where
    it may have to end early with an `Interruption`; several threads may.
    """

    path: Path
    facts: ModelFacts
    session: onnxruntime.InferenceSession
    device: str
    notes: list[str] = field(default_factory=list)
    #: Seconds spent in the network so far, of all threads together.
    busy: float = 0.0
    threads: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(
        self, pictures: np.ndarray, interruption: Interruption | None = None
    ) -> np.ndarray:
        interruption = interruption or Interruption()
        session, began = self.session, time.monotonic()
        entry = session.get_inputs()[0]
        if entry.type == "tensor(float16)":
            pictures = pictures.astype(np.float16)
        try:
            options = _import_onnxruntime().RunOptions()
            with interruption.over(options):
                made = session.run(None, {entry.name: pictures}, options)[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if interruption.ended:
                raise StoppedError(f"{self.path}: stopped") from error
            kind = MemoryFullError if is_full(error) else DeviceError
            raise kind(
                f"{self.path}: the {self.device} device failed ({reason(error)}); "
                "try a smaller --tile, or --device cpu"
            ) from error
        finally:
            with self._lock:
                self.busy += time.monotonic() - began
        return np.asarray(made, np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, which start a session of their own."""
        state = {k: v for k, v in vars(self).items() if k not in ("_lock", "session")}
        return state | {"session": self.session is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
        chosen = choose_providers(self.device, [PROVIDERS[self.device], PROVIDERS["cpu"]])[0]
        if not state["session"]:
            self.session = None
            return
        # What ran there need not run here.
        started = _shared_start(self.path, tuple(chosen), self.threads)
        self.path, self.session, self.device = started.path, started.session, started.device
        self.notes = [*self.notes, *(n for n in started.notes if n not in self.notes)]

    def note(self, text: str) -> None:
        """Tell the user something, once."""
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)

    def to_cpu(self) -> None:
        """Go on with the CPU, in single precision where that model is at hand."""
        with self._lock:
            if self.device == "cpu":
                return
            path = _single(self.path)
            self.session = _session(path, [PROVIDERS["cpu"]], self.threads)
            self.device, self.path = "cpu", path


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"onnxruntime is not installed; install it with {_INSTALL}") from error
    return onnxruntime


def load_model(name: str | Path | None = None, *, device: str = "auto", threads: int = 0) -> Model:
    """Load a model and start its session.

    Parameters
    ----------
    name : str or Path, optional
        As for `find_model`.
    device : str
        'auto' or a key of `nox_runtime.devices.PROVIDERS`.
    threads : int
        Threads of the CPU provider; 0 leaves the choice to ONNX Runtime.

    Raises
    ------
    ModelError, DeviceError
    """
    path = find_model(name)
    ort = _import_onnxruntime()
    providers, notes = choose_providers(device, ort.get_available_providers())
    half = path.with_name(path.stem + _HALF_ENDING)
    if _NAMES[providers[0]] in HALF and half.is_file():
        path = half
    started = _start(path, providers, threads)
    notes += started.notes
    if started.path == half:
        notes.append(f"half precision ({half.name})")
    metadata = started.session.get_modelmeta().custom_metadata_map
    facts = ModelFacts.from_metadata(metadata, started.path)
    return Model(started.path, facts, started.session, started.device, notes, threads=threads)


@dataclass(frozen=True)
class _Started:
    """A session, the file and the device that it really runs, and what to say of it."""

    path: Path
    session: onnxruntime.InferenceSession
    device: str
    notes: tuple[str, ...] = ()


def _single(path: Path) -> Path:
    """The model in single precision, where it lies beside one in half."""
    single = path.with_name(path.name.replace(_HALF_ENDING, ".onnx"))
    return single if single.is_file() else path


def _start(path: Path, providers: list[str], threads: int) -> _Started:
    """Start a session on the first provider that can be, in the precision that suits it."""
    session = _session(path, providers, threads)
    running = session.get_providers()[0]
    if running == providers[0]:
        return _Started(path, session, _NAMES.get(running, running))
    if _NAMES.get(running) not in HALF and _single(path) != path:
        # Half precision is slower there, and its rounding is for nothing.
        path = _single(path)
        rest = providers[providers.index(running) :] if running in providers else [running]
        session = _session(path, rest, threads)
        running = session.get_providers()[0]
    device = _NAMES.get(running, running)
    where = "the CPU" if device == "cpu" else device
    note = f"{_NAMES[providers[0]]} could not be started; running on {where}"
    return _Started(path, session, device, (note,))


@lru_cache(maxsize=2)
def _shared_start(path: Path, providers: tuple[str, ...], threads: int) -> _Started:
    """One session for all copies of a model that reach this process."""
    return _start(path, list(providers), threads)


def _preload(ort: Any, providers: list[str]) -> None:
    """Let ONNX Runtime find NVIDIA's libraries where pip has put them (the extra `gpu`)."""
    nvidia = {PROVIDERS["cuda"], PROVIDERS["tensorrt"]}
    preload = getattr(ort, "preload_dlls", None)  # since 1.21
    if preload is not None and not nvidia.isdisjoint(providers):
        # It prints what is missing to standard output, where reports go; whether the
        # device then runs is told by the session.
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


def _session(path: Path, providers: list[str], threads: int) -> onnxruntime.InferenceSession:
    ort = _import_onnxruntime()
    _preload(ort, providers)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # A pattern takes a second block for every size of tile that comes again: up to 1 GB
    # of them, and no time saved (docs/performance.md).
    options.enable_mem_pattern = False
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(
            f"{path}: not a readable ONNX model ({reason(error)}); "
            "give a file that nox-export wrote"
        ) from error
