"""Which device runs, and what happens when its memory is full; with stand-in sessions."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import FACTS, StandIn, starry
from scipy import ndimage

from nox_runtime import devices, model
from nox_runtime.devices import PROVIDERS, choose_providers, tile_for, why
from nox_runtime.errors import DeviceError, MemoryFullError
from nox_runtime.model import Model, available_devices, available_models, load_model
from nox_runtime.removal import StarRemover

ALL = list(PROVIDERS.values())[::-1]


def named(providers: list[str]) -> list[str]:
    names = {p: n for n, p in PROVIDERS.items()}
    return [names[p] for p in providers]


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [
        ("auto", ALL, ["cuda", "coreml", "dml", "openvino", "cpu"]),
        ("auto", ["CPUExecutionProvider"], ["cpu"]),
        ("auto", ["AzureExecutionProvider", "CPUExecutionProvider"], ["cpu"]),
        ("auto", ["TensorrtExecutionProvider", "CPUExecutionProvider"], ["cpu"]),
        ("tensorrt", ALL, ["tensorrt", "cuda", "cpu"]),
        ("openvino", ALL, ["openvino", "cpu"]),
        ("cpu", ALL, ["cpu"]),
    ],
)
def test_order_of_devices(device: str, there: list[str], expected: list[str]) -> None:
    assert named(choose_providers(device, there)[0]) == expected


def test_wrong_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="device is 'gpu'; it must be one of auto, cuda"):
        choose_providers("gpu", ALL)
    with pytest.raises(DeviceError, match="device cuda is not in this build"):
        choose_providers("cuda", ["CPUExecutionProvider"])


def test_info_says_why() -> None:
    lines = why(["CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"])
    assert lines[0] == "cuda: would run: the first there"
    assert "only with --device tensorrt" in lines[1]
    assert lines[2] == "coreml: not in this build of ONNX Runtime"
    assert lines[-1] == "cpu: there; comes after another"


def test_tiles_grow_with_free_memory_to_a_limit() -> None:
    sizes = [tile_for("cuda", n << 20) for n in (50, 500, 4000, 80000)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 256
    assert sizes[-1] == 3072
    assert tile_for("cpu", 64 << 30) == 2304
    assert tile_for("cuda", None) == tile_for("cpu", None) == 1536
    assert tile_for("cpu", 64 << 30, scale=2) == 1152
    assert all(size % 64 == 0 for size in sizes)
    assert devices.free_memory("coreml") is None


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, None), ("1,0", "--id=1"), ("GPU-ab12", "--id=GPU-ab12"), ("", ""), ("-1", "")],
)
def test_free_memory_is_that_of_the_gpu_in_use(
    visible: str | None, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def smi(command: list[str], **options: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(stdout="1234\n99\n" if asked is None else "77\n")

    monkeypatch.setattr(devices.subprocess, "run", smi)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    free = devices.free_memory("cuda")
    if asked == "":  # none is visible
        assert free is None
        assert not commands
        return
    assert free == (1234 if asked is None else 77) << 20
    assert [part for part in commands[0] if part.startswith("--id")] == ([asked] if asked else [])


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("0::/job/step\n", {}, None),
        ("0::/\n", {"memory.max": "1000", "memory.current": "300"}, 700),
        ("0::/job/step\n", {"job/step/memory.max": "max", "job/step/memory.current": "5"}, None),
        ("0::/job/step\n",  # the tightest of those above; cached files give way
         {"job/memory.max": "1000", "job/memory.current": "900",
          "job/memory.stat": "anon 300\ninactive_file 500\n",
          "job/step/memory.max": "5000", "job/step/memory.current": "100"}, 600),
        ("0::/not/seen/inside\n", {"memory.max": "1000", "memory.current": "1100"}, 0),
        ("11:cpu:/a\n4:memory:/job\n0::/\n",
         {"memory/job/memory.limit_in_bytes": "2000", "memory/job/memory.usage_in_bytes": "600",
          "memory/job/memory.stat": "inactive_file 7\ntotal_inactive_file 100\n"}, 1500),
    ],
)  # fmt: skip
def test_free_memory_is_what_the_control_groups_leave(
    tmp_path: Path, own: str, files: dict[str, str], free: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert devices._free_in_groups(tmp_path) == free
    assert devices._free_in_groups(tmp_path / "nowhere") is None
    monkeypatch.setattr(devices, "_free_in_machine", lambda: 800)
    groups = devices._free_in_groups
    monkeypatch.setattr(devices, "_free_in_groups", lambda: groups(tmp_path))
    assert devices.free_memory("cpu") == min(800, 800 if free is None else free)


def test_models_and_devices_that_are_there() -> None:
    entries = available_models()
    assert entries[0].name == model.DEFAULT_MODEL
    assert entries[0].bytes == entries[0].path.stat().st_size
    assert entries[0].facts.channels in (1, 3)
    assert available_devices()[-1] == "cpu"


class Session:
    """Looks like one of ONNX Runtime's; full above some size of a side."""

    def __init__(self, limit: int = 10**9, kind: str = "tensor(float)") -> None:
        self.limit, self.kind, self.sizes, self.stand_in = limit, kind, [], StandIn()  # type: ignore[var-annotated]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="picture", type=self.kind)]

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map=FACTS.to_metadata())

    def run(
        self, names: None, feeds: dict[str, np.ndarray], options: object = None
    ) -> list[np.ndarray]:
        picture = feeds["picture"]
        assert picture.dtype == (np.float16 if "16" in self.kind else np.float32)
        if max(picture.shape[2:]) > self.limit:
            raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer")
        self.sizes.append(max(picture.shape[2:]))
        made = self.stand_in(picture.astype(np.float32))
        return [made.astype(picture.dtype)]


def on_gpu(session: Session) -> Model:
    return Model(Path("stand-in.onnx"), FACTS, session, "cuda")  # type: ignore[arg-type]


PICTURE = starry(300, 410, 3).astype("f4")


def test_full_memory_makes_smaller_pieces_and_says_so() -> None:
    session = Session(limit=260)
    made = StarRemover(on_gpu(session), tile=512).remove(PICTURE, stretch="none")
    expected = StarRemover(StandIn(), tile=512).remove(PICTURE, stretch="none")
    np.testing.assert_allclose(made.starless, expected.starless, atol=1e-5)
    assert made.device == "cuda"
    assert any("memory was full: pieces of" in note for note in made.notes)
    assert max(session.sizes) <= 260
    untouched = made.mask == 0
    assert made.starless[:, untouched].tobytes() == PICTURE[:, untouched].tobytes()


def test_a_device_too_small_for_any_piece_gives_way_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = Session()
    monkeypatch.setattr(model, "_session", lambda path, providers, threads: cpu)
    remover = StarRemover(on_gpu(Session(limit=10)), tile=512)
    steps = list(remover.iter_remove(PICTURE, stretch="none"))
    made = steps[-1][1]
    assert made is not None
    assert made.device == "cpu"
    assert made.notes[-1] == "the cuda device's memory was full: running on the CPU"
    assert cpu.sizes
    expected = StarRemover(StandIn(), tile=512).remove(PICTURE, stretch="none")
    np.testing.assert_allclose(made.starless, expected.starless, atol=1e-5)


def test_a_full_cpu_is_an_error_with_its_remedy() -> None:
    full = Model(Path("m.onnx"), FACTS, Session(limit=10), "cpu")  # type: ignore[arg-type]
    with pytest.raises(MemoryFullError, match=r"m\.onnx: the cpu device failed.*smaller --tile"):
        StarRemover(full, tile=512).remove(PICTURE)


def test_other_failures_are_not_taken_for_a_full_memory() -> None:
    class Broken(Session):
        def run(
            self, names: None, feeds: dict[str, np.ndarray], options: object = None
        ) -> list[np.ndarray]:
            raise RuntimeError("CUDA failure 700: an illegal memory access")

    with pytest.raises(DeviceError, match="illegal memory access") as caught:
        StarRemover(on_gpu(Broken()), tile=512).remove(PICTURE)
    assert not isinstance(caught.value, MemoryFullError)


class Build:
    """A build of ONNX Runtime with every provider, of which some do not start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import onnxruntime

        self.opened: list[str] = []
        self.broken: set[str] = set()
        build = self

        class Fake(Session):
            def __init__(self, path: str, options: object, providers: list[str]) -> None:
                super().__init__(kind="tensor(float16)" if "fp16" in path else "tensor(float)")
                build.opened.append(Path(path).name)
                self.providers = [p for p in providers if p not in build.broken]

            def get_providers(self) -> list[str]:
                return self.providers

        monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    """Such a build, and a model in both precisions."""
    for name in ("m.onnx", "m-fp16.onnx"):
        (tmp_path / name).touch()
    return Build(monkeypatch)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_half_precision_is_taken_on_gpus_where_it_is_there(
    device: str, tmp_path: Path, build: Build
) -> None:
    loaded = load_model(tmp_path / "m.onnx", device=device)
    assert build.opened == ["m-fp16.onnx" if device == "cuda" else "m.onnx"]
    made = StarRemover(loaded, tile=512).remove(PICTURE, stretch="none")
    assert made.notes == (("half precision (m-fp16.onnx)",) if device == "cuda" else ())
    expected = StarRemover(StandIn(), tile=512).remove(PICTURE, stretch="none")
    np.testing.assert_allclose(made.starless, expected.starless, atol=2e-3)
    loaded.to_cpu()
    assert build.opened[-1] == "m.onnx"
    assert loaded.device == "cpu"


@pytest.mark.parametrize(
    ("broken", "device", "path", "notes"),
    [
        (["cuda"], "coreml", "m-fp16.onnx",
         ["cuda could not be started; running on coreml", "half precision (m-fp16.onnx)"]),
        (["cuda", "coreml", "dml"], "openvino", "m.onnx",
         ["cuda could not be started; running on openvino"]),
        (["cuda", "coreml", "dml", "openvino"], "cpu", "m.onnx",
         ["cuda could not be started; running on the CPU"]),
    ],
)  # fmt: skip
def test_a_device_that_does_not_start_gives_way_with_the_precision_of_the_next(
    broken: list[str], device: str, path: str, notes: list[str], tmp_path: Path, build: Build
) -> None:
    build.broken = {PROVIDERS[name] for name in broken}
    loaded = load_model(tmp_path / "m.onnx")
    assert (loaded.device, loaded.path.name, loaded.notes) == (device, path, notes)
    assert build.opened[-1] == path


def test_a_model_that_travels_tells_what_runs_it_there(tmp_path: Path, build: Build) -> None:
    loaded = load_model(tmp_path / "m.onnx")
    assert (loaded.device, loaded.path.name) == ("cuda", "m-fp16.onnx")
    packed = pickle.dumps(loaded)
    build.broken = {PROVIDERS["cuda"]}  # the machine where it arrives has no GPU
    there = pickle.loads(packed)
    assert (there.device, there.path.name) == ("cpu", "m.onnx")
    assert there.notes[-1] == "cuda could not be started; running on the CPU"


def test_nvidias_libraries_are_sought_before_a_session_that_needs_them(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import onnxruntime

    begun = []

    def preload() -> None:
        print("Failed to load libcudnn.so.9")  # standard output is for reports
        begun.append(len(build.opened))

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    load_model(tmp_path / "m.onnx", device="cpu")
    load_model(tmp_path / "m.onnx", device="coreml")
    assert begun == []
    load_model(tmp_path / "m.onnx", device="cuda")
    load_model(tmp_path / "m.onnx", device="tensorrt")
    assert begun == [2, 3]  # each before its session, the third and the fourth
    assert capsys.readouterr().out == ""
    monkeypatch.delattr(onnxruntime, "preload_dlls")
    assert load_model(tmp_path / "m.onnx", device="cuda").device == "cuda"


def test_eight_threads_share_a_remover(remover: StarRemover) -> None:
    """Each thread's results are those that it would get alone."""
    from concurrent.futures import ThreadPoolExecutor

    pictures = [starry(90, 100, 1 + 2 * (k % 2), seed=k).astype("f4") for k in range(8)]
    alone = [remover.remove(p, strength=0.7, region=(3, 80, 4, 90)) for p in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda p: remover.remove(p, strength=0.7, region=(3, 80, 4, 90)), pictures)
        )
    for a, b in zip(alone, together, strict=True):
        assert a.starless.tobytes() == b.starless.tobytes()
        assert a.stretch == b.stretch


def test_a_second_pass_takes_what_the_first_left() -> None:
    class Half(StandIn):
        """Takes half of what stands out."""

        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            return (pictures + super().__call__(pictures)) / 2

    one = StarRemover(Half(), tile=128).remove(PICTURE, stretch="none")
    two = StarRemover(Half(), tile=128, passes=2).remove(PICTURE, stretch="none")
    assert two.stars.sum() > 1.3 * one.stars.sum()
    whole = StarRemover(Half(), tile=4096, passes=2).remove(PICTURE, stretch="none")
    np.testing.assert_allclose(two.starless, whole.starless, atol=1e-5)


def test_upsampling_shows_twice_the_scale_and_takes_undersampled_stars() -> None:
    seen = []

    class Wide(StandIn):
        """Sees no star that is narrower than three pixels, like a network."""

        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            seen.append(pictures.shape)
            made = super().__call__(pictures)
            taken = pictures - made
            near = taken[:, :, :-2] * taken[:, :, 2:] > 0
            wide = np.zeros(taken.shape, bool)
            wide[:, :, 1:-1] = near
            return np.where(wide, made, pictures)

    picture = np.full((1, 90, 110), 0.1, "f4")
    picture[0, 40, 50] = 0.9
    plain = StarRemover(Wide(), tile=128).remove(picture, stretch="none")
    large = StarRemover(Wide(), tile=128, upsample=True).remove(picture, stretch="none")
    assert plain.starless[0, 40, 50] == picture[0, 40, 50]
    assert large.starless[0, 40, 50] < 0.4
    assert large.starless[0, :30].tobytes() == picture[0, :30].tobytes()
    assert seen[-1][2] % FACTS.multiple == 0
    many = StarRemover(Wide(), tile=128, upsample=True).remove(PICTURE, stretch="none")
    whole = StarRemover(Wide(), tile=4096, upsample=True).remove(PICTURE, stretch="none")
    np.testing.assert_allclose(many.starless, whole.starless, atol=1e-4)


def test_large_stars_that_stayed_go_at_half_the_scale() -> None:
    seen = []

    class Narrow(StandIn):
        """Sees nothing that is wider than six pixels."""

        def __call__(self, pictures: np.ndarray, interruption: object = None) -> np.ndarray:
            seen.append(pictures.shape)
            made = ndimage.grey_opening(pictures, (1, 1, 7, 7))
            return np.where(pictures - made > 0.2, made, pictures)

    picture = starry(300, 410, 3).astype("f4") / 2
    star = (slice(None), slice(137, 147), slice(198, 208))
    picture[star] = 0.9
    picture[:, 250:] = picture[:, 250:].mean()
    plain = StarRemover(Narrow(), tile=128).remove(picture, stretch="none")
    assert (plain.starless[star] == picture[star]).all()
    seen.clear()
    many = StarRemover(Narrow(), tile=128, large_stars=True).remove(picture, stretch="none")
    assert many.starless[star].max() < 0.5
    assert {s[2] * (1 + k % 2) for k, s in enumerate(seen)} == {seen[0][2]}
    assert all(s[2] % FACTS.multiple == 0 for s in seen)
    # Where there is nothing to take all stays bit by bit, and no tile shows.
    assert many.starless[:, 260:].tobytes() == picture[:, 260:].tobytes()
    whole = StarRemover(Narrow(), tile=4096, large_stars=True).remove(picture, stretch="none")
    np.testing.assert_allclose(many.starless, whole.starless, atol=1e-5)
    assert (np.abs(many.starless + many.stars - picture) < 1e-6).all()


def test_facts_survive_their_metadata() -> None:
    again = model.ModelFacts.from_metadata(FACTS.to_metadata(), "m.onnx")
    assert again == FACTS
    assert json.loads(FACTS.to_metadata()["nox.name"]) == "stand-in"
    assert dataclasses.is_dataclass(again)
