"""A stand-in for Siril that speaks sirilpy's protocol over a socket, for tests of a second.

Requests are a command's number and the length of what follows, replies a status (0 all right,
1 nothing, 255 an error) and the length; pixels and headers go through shared memory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
from astropy.io import fits

OK, NONE, ERROR = 0, 1, 255
CREATE_SEQUENCE = 64
#: Size, type (0 integers, 1 floats), width, height, channels, name.
_SHARED = struct.Struct("@Niiii256s")


def load_script(path: Path | str) -> ModuleType:
    """The script as a module; sirilpy must be on the path."""
    spec = importlib.util.spec_from_file_location("nox_star_removal", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def fits_header(values: np.ndarray, bitpix: int, cards: dict[str, object]) -> str:
    """The cards that Siril sends, a line each."""
    width, height = values.shape[-1], values.shape[-2]
    structure: dict[str, object] = {
        "SIMPLE": True, "BITPIX": bitpix, "NAXIS": values.ndim, "NAXIS1": width, "NAXIS2": height,
    }  # fmt: skip
    lines = []
    for key, value in (structure | cards).items():
        if isinstance(value, str) and len(value) > 68:  # goes on in CONTINUE cards
            whole = str(fits.Card(key, value))
            lines += [whole[at : at + 80].rstrip() for at in range(0, len(whole), 80)]
            continue
        text = f"'{value:8}'" if isinstance(value, str) else {True: "T"}.get(value, str(value))  # type: ignore[call-overload]
        lines.append(f"{key:8}= {text:>20}" if not text.startswith("'") else f"{key:8}= {text}")
    return "\n".join([*lines, "END"]) + "\0"


@dataclass
class StandInSiril:
    """What is loaded, what is refused, and all that was asked for.

    ``fail`` holds names of `log` entries that are answered with an error.
    """

    folder: Path
    values: np.ndarray | None = None
    bitpix: int = -32
    filename: str = "m42.fit"
    cards: dict[str, object] = field(default_factory=lambda: {"FILTER": "Ha", "MYKEY": 42})
    selection: tuple[int, int, int, int] | None = None
    sequence: bool = False
    confirms: bool = False
    theme: int = 0
    fail: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    logged: list[tuple[int, str]] = field(default_factory=list)
    progress: list[tuple[float, str]] = field(default_factory=list)
    locked: bool = False

    def __post_init__(self) -> None:
        self.socket = str(self.folder / "siril.socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.socket)
        self._listener.listen()
        self._shared = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    @property
    def messages(self) -> list[str]:
        return [text for _, text in self.logged]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while head := stream.read(5):
            command, length = struct.unpack("!Bi", head)
            name, status, reply = self._answer(command, stream.read(length))
            if name:
                self.done.append(name)
                if name.split()[0] in self.fail:
                    status, reply = ERROR, f"{name.split()[0]} refused".encode()
            connection.sendall(struct.pack("!BI", status, len(reply)) + reply)

    def _answer(self, command: int, data: bytes) -> tuple[str, int, bytes]:
        """Name (for what changes something), status and reply."""
        text = data.decode("utf-8", "replace").rstrip("\n\0")
        if command == 1:
            return f"command {text}", OK, struct.pack("!i", 0)
        if command == 2:
            self.logged.append((data[0], text[1:]))
            return "", OK, b""
        if command == 3:
            self.progress.append((struct.unpack("!f", data[:4])[0], data[4:].decode()))
            return "", OK, b""
        if command == 4:
            return "", OK, str(self.folder).encode() + b"\0"
        if command == CREATE_SEQUENCE:
            return f"sequence {text}", OK, b""
        if command in (26, 46):
            return "", OK, str(self.folder).encode() + b"\0"
        if command == 9:
            self._release(data)
            return "", OK, b""
        if command == 25:
            key = data.split(b"\0")[1]
            integer = b"\x01" + struct.pack("!i", self.theme)
            return "", OK, b"\x03.fit\0" if key == b"extension" else integer
        if command == 27:
            return "", OK, struct.pack("!i", self.values is not None)
        if command == 28:
            return "", OK, struct.pack("!i", self.sequence)
        if command == 29:
            return "", *(
                (OK, struct.pack("!IIII", *self.selection)) if self.selection else (NONE, b"")
            )
        if command == 41:
            self.locked = "claim" not in self.fail
            said = b"" if self.locked else b"processing thread is locked"
            return "", OK if self.locked else ERROR, said
        if command == 42:
            self.locked = False
            return "", OK, b""
        if command == 44:
            return "", OK, self._share(b"\0" * struct.unpack("!Q", data)[0], 0, (1, 1, 1))
        if command == 62:
            return "confirm", OK, bytes([self.confirms])
        if command == 38:
            return f"errorbox {text}", OK, b""
        return self._image(command, data, text)

    def _image(self, command: int, data: bytes, text: str) -> tuple[str, int, bytes]:
        if self.values is None:
            return "", ERROR, b"no image loaded"
        shape = (self.values[None] if self.values.ndim == 2 else self.values).shape
        size = (shape[2], shape[1], shape[0])
        if command == 5:
            return "", OK, self.filename.encode() + b"\0"
        if command == 6:
            return "", OK, struct.pack("!III", *size)
        if command in (7, 8):
            assert self.values.dtype in (np.float32, np.uint16)
            sent = self.values
            if command == 8:
                x, y, w, h = struct.unpack("!IIII", data[2:])
                rows = slice(shape[1] - y - h, shape[1] - y)
                sent = sent[..., rows, x : x + w]
                size = (w, h, shape[0])
            kind = int(sent.dtype == np.float32)
            return "", OK, self._share(np.ascontiguousarray(sent).tobytes(), kind, size)
        if command == 10:
            assert self.locked
            w, h, c, kind, length, name = struct.unpack("!IIIIQ256s", data)
            raw = Path("/dev/shm", name.rstrip(b"\0").decode().lstrip("/")).read_bytes()[:length]
            made = np.frombuffer(raw, np.float32 if kind else np.uint16)
            if "set" not in self.fail:
                self.values = made.reshape((c, h, w) if c > 1 else (h, w)).copy()
            return "set", OK, b""
        if command == 14:
            header = fits_header(self.values, self.bitpix, self.cards)
            return "", OK, self._share(header.encode(), 0, (1, 1, 1))
        if command == 36:
            return f"undo {text}", OK, b""
        if command == 84:
            self.filename = text
            return "filename", OK, b""
        return "", ERROR, f"command {command} is not known".encode()

    def _share(self, content: bytes, kind: int, size: tuple[int, int, int]) -> bytes:
        self._shared += 1
        name = f"nox-test-{id(self)}-{self._shared}"
        Path("/dev/shm", name).write_bytes(content)
        width, height, channels = size
        return _SHARED.pack(len(content), kind, width, height, channels, b"/" + name.encode())

    def _release(self, data: bytes) -> None:
        name = _SHARED.unpack(data)[-1].rstrip(b"\0").decode().lstrip("/")
        Path("/dev/shm", name).unlink(missing_ok=True)
