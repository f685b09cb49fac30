"""Scenes that are seen more than once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nox_train import dataset, replay


class Fed:
    """A stream that has so many batches, all ready."""

    def __init__(self, batches: int, size: int = 4) -> None:
        rng = np.random.default_rng(3)
        self.made = [rng.random((2, size, size, 3)).astype(np.float32) for _ in range(batches)]
        self.next, self.closed = 0, False

    def ready(self) -> bool:
        return self.next < len(self.made)

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        self.next += 1
        picture = self.made[self.next - 1]
        return dataset.pack(picture), dataset.pack(picture / 2)

    def close(self) -> None:
        self.closed = True


def test_packing_keeps_sixteen_bits_of_the_display_range() -> None:
    picture = np.linspace(0, 1, 100_003, dtype=np.float32).reshape(1, 1, -1, 1)
    packed = dataset.pack(picture)
    assert packed.dtype == np.int16
    back = np.asarray(replay.unpack(packed))
    assert back.dtype == np.float32
    assert back[0, 0, 0, 0] == 0
    assert back[0, 0, -1, 0] == 1
    assert np.abs(back - picture).max() <= 0.51 / 65535


def test_floats_are_not_unpacked() -> None:
    picture = np.full((1, 2, 2, 3), 0.3, np.float32)
    assert replay.unpack(picture) is picture


def test_a_square_is_turned_in_eight_ways() -> None:
    picture = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    seen = {np.asarray(replay.turned(picture, way)).tobytes() for way in range(replay.TURNS)}
    wanted = {np.rot90(p, k).tobytes() for p in (picture[0], picture[0, ::-1]) for k in range(4)}
    assert seen == wanted


def test_new_batches_go_first_and_old_ones_fill_the_gaps_turned_otherwise() -> None:
    fed = Fed(3)
    batches = replay.Replay(fed, 4, seed=1)  # type: ignore[arg-type]
    seen = [next(batches) for _ in range(12)]  # 3 new ones, then these three times each
    sums = Counter(round(float(np.asarray(replay.unpack(p)).sum()), 2) for p, _ in seen)
    assert sorted(sums.values()) == [4, 4, 4]
    assert len({np.asarray(p).tobytes() for p, _ in seen}) == 12  # no turn twice
    assert [round(float(m.sum()), 2) for m in fed.made] == list(sums)[:3]
    for picture, target in seen:  # both are turned alike
        np.testing.assert_allclose(
            np.asarray(replay.unpack(picture)) / 2, np.asarray(replay.unpack(target)), atol=2e-5
        )
    with pytest.raises(IndexError):  # nothing is seen a fifth time: it waits for a new one
        next(batches)


def test_seen_once_batches_come_as_they_are() -> None:
    fed = Fed(3)
    batches = replay.Replay(fed, 1)  # type: ignore[arg-type]
    for made in fed.made:
        np.testing.assert_array_equal(np.asarray(next(batches)[0]), dataset.pack(made))


def test_what_is_kept_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = Fed(6)
    monkeypatch.setattr(replay, "_ROOM", 3 * 4 * fed.made[0].size)
    batches = replay.Replay(fed, 8)  # type: ignore[arg-type]
    for _ in range(6):
        next(batches)
    seen = {round(float(np.asarray(replay.unpack(next(batches)[0])).sum()), 2) for _ in range(21)}
    assert seen == {round(float(made.sum()), 2) for made in fed.made[3:]}
    batches.close()
    assert fed.closed
