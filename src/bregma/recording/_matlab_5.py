"""Decode MATLAB files of versions 4 to 7.2 in Python.

`scipy.io.loadmat` is the peer in the tests; it is not used here because a damaged file makes it
end the whole process (2 % of files with one to four changed bytes, SciPy 1.17), and because it
allocates what a header declares before it looks whether that is there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bregma.errors import InvalidRecording
from bregma.recording._limits import MAX_DEPTH, Budget
from bregma.recording._matlab_7_3 import Struct

# Numbers of the MAT-file format, level 5.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}  # fmt: skip
_TEXT = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE = 1, 2, 3, 4, 5
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
_LOGICAL, _COMPLEX = 0x02, 0x08
_CLASSES_4 = ("f8", "f4", "i4", "i2", "u2", "u1")


def level_5(path: Path, budget: Budget) -> dict[str, Any]:
    """Variables of a file of version 5 to 7.2."""
    content = memoryview(path.read_bytes())
    order = "<" if bytes(content[126:128]) == b"IM" else ">"
    found = {}
    at = 128
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        at += 8
        if size > len(content) - at:
            raise InvalidRecording(
                f"it ends in the middle of a variable ({size} bytes are declared, "
                f"{len(content) - at} are there): the file is truncated or damaged"
            )
        part = content[at : at + size]
        at += size
        if kind == _COMPRESSED:
            part = memoryview(_unpacked(part, order, budget))
        elif kind != _MATRIX:
            raise InvalidRecording(f"there is an element of the unknown type {kind}: damaged")
        name, value = _Elements(part, order, budget).matrix(0)
        if name and value is not None:
            found[name] = value
    return found


def level_4(path: Path, budget: Budget) -> dict[str, Any]:
    """Variables of a file of version 4: real matrices and texts."""
    content = memoryview(path.read_bytes())
    found = {}
    at = 0
    while at + 20 <= len(content):
        order = "<" if content[at + 3] == 0 and content[at + 2] == 0 else ">"
        code, rows, columns, is_complex, n_name = struct.unpack_from(f"{order}5i", content, at)
        digits = [int(x) for x in f"{code:04d}"] if 0 <= code <= 4052 else []
        known = (
            digits and digits[0] in (0, 1) and digits[1] == 0 and digits[2] < 6 and digits[3] < 3
        )
        if not known or min(rows, columns) < 0 or not 0 < n_name <= 256 or is_complex not in (0, 1):
            raise InvalidRecording("it does not begin like a MATLAB file of any version")
        dtype = np.dtype(order + _CLASSES_4[digits[2]])
        size = rows * columns * dtype.itemsize * (1 + is_complex)
        start = at + 20 + n_name
        if start + size > len(content):
            raise InvalidRecording("it ends in the middle of a variable: truncated or damaged")
        budget.take(size, size, "a variable")
        name = bytes(content[at + 20 : start]).split(b"\0")[0].decode("latin-1")
        values = np.frombuffer(content[start : start + rows * columns * dtype.itemsize], dtype)
        values = values.reshape((rows, columns), order="F").astype(dtype.newbyteorder("="))
        if digits[3] == 1:
            lines = ["".join(chr(max(int(x), 0) % 0x110000) for x in row) for row in values]
            found[name] = lines[0] if len(lines) == 1 else np.array(lines, dtype=str)
        elif digits[3] == 0 and not is_complex:
            found[name] = values
        at = start + size
    return found


def _unpacked(part: memoryview, order: str, budget: Budget) -> bytes:
    """The one matrix in a compressed element, without its own tag."""
    unpacker = zlib.decompressobj()
    head = unpacker.decompress(part, 8)
    if len(head) < 8:
        raise InvalidRecording("a compressed variable is truncated")
    kind, size = struct.unpack(f"{order}II", head)
    if kind != _MATRIX:
        raise InvalidRecording(f"a compressed variable has the unknown type {kind}: damaged")
    budget.check(size, len(part), "a compressed variable")
    body = unpacker.decompress(unpacker.unconsumed_tail, max(size, 1))
    if len(body) < size:
        raise InvalidRecording("a compressed variable is truncated")
    return body


class _Elements:
    """Walk over the elements of one matrix; every length is checked before it is used."""

    def __init__(self, content: memoryview, order: str, budget: Budget) -> None:
        self.content, self.order, self.budget, self.at = content, order, budget, 0

    def element(self) -> tuple[int, memoryview]:
        """Type and bytes of the next element."""
        if self.at + 8 > len(self.content):
            raise InvalidRecording("a variable ends too early: the file is damaged")
        kind, size = struct.unpack_from(f"{self.order}II", self.content, self.at)
        if kind >> 16:  # up to four bytes are held in the tag itself
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = self.at + 4, self.at + 8
        else:
            start = self.at + 8
            end = start + size if kind == _MATRIX else start + -(-size // 8) * 8
        if start + size > len(self.content) or (end - start == 4 and size > 4):
            raise InvalidRecording("a part of a variable is longer than the variable: damaged")
        self.at = min(end, len(self.content))
        return kind, self.content[start : start + size]

    def numbers(self, what: str) -> np.ndarray:
        """Numbers of the next element, as they are stored."""
        kind, part = self.element()
        if kind not in _STORED:
            raise InvalidRecording(f"{what} has the unknown type {kind}: the file is damaged")
        return _numbers(part, self.order + _STORED[kind])

    def text(self) -> str:
        return self.element()[1].tobytes().split(b"\0")[0].decode("latin-1")

    def matrix(self, depth: int) -> tuple[str, Any]:
        """Name and value of the matrix; None for what is no data, such as functions."""
        if depth > MAX_DEPTH:
            raise InvalidRecording(f"its structs lie more than {MAX_DEPTH} deep in each other")
        if not len(self.content):
            return "", np.empty((0, 0))
        flags = int(self.numbers("a header")[0:1].sum())
        kind, flags = flags & 0xFF, flags >> 8
        if kind not in {_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, *_CLASSES}:
            return "", None
        shape = tuple(self.numbers("a shape").tolist())
        if len(shape) < 2 or min(shape) < 0 or len(shape) > 32:
            raise InvalidRecording(f"a variable declares the shape {shape}: the file is damaged")
        count = 1
        for n in shape:  # Python integers: no overflow
            count *= int(n)
        name = self.text()
        if kind in (_CELL, _STRUCT, _OBJECT):
            # Each entry of a cell or struct takes at least the 8 bytes of its own tag.
            if count * 8 > max(len(self.content), 8):
                raise InvalidRecording(f"{name or 'a cell'!r} declares {count} entries: damaged")
            if kind == _CELL:
                return name, self.cell(shape, count, depth)
            return name, self.struct(kind, shape, count, depth)
        if kind == _SPARSE:
            return name, self.sparse(shape, count, name)
        if kind == _CHAR:
            return name, self.chars(shape, count)
        self.budget.take(count * np.dtype(_CLASSES[kind]).itemsize, len(self.content), repr(name))
        values = self.numbers(repr(name))
        if len(values) != count:
            raise InvalidRecording(
                f"{name!r} declares {count} numbers ({'x'.join(map(str, shape))}), but "
                f"{len(values)} are there: the file is damaged"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            out = values.astype(_CLASSES[kind]).reshape(shape, order="F")
            if flags & _COMPLEX:
                imaginary = self.numbers(repr(name))
                if len(imaginary) != count:
                    raise InvalidRecording(f"{name!r} has half of its complex numbers: damaged")
                out = out + 1j * imaginary.astype(out.dtype).reshape(shape, order="F")
        return name, out.astype(bool) if flags & _LOGICAL else out

    def cell(self, shape: tuple[int, ...], count: int, depth: int) -> np.ndarray:
        parts = np.empty(count, dtype=object)
        for i in range(count):
            parts[i] = self.inner(depth)
        return parts.reshape(shape, order="F")

    def inner(self, depth: int) -> Any:
        kind, part = self.element()
        if kind != _MATRIX:
            raise InvalidRecording(f"an entry of a cell has the unknown type {kind}: damaged")
        value = _Elements(part, self.order, self.budget).matrix(depth + 1)[1]
        return np.empty((0, 0)) if value is None else value

    def struct(self, kind: int, shape: tuple[int, ...], count: int, depth: int) -> Struct:
        if kind == _OBJECT:
            self.text()  # name of the class
        width = int(self.numbers("a struct")[0:1].sum())
        if not 0 < width <= 1024:
            raise InvalidRecording(f"a struct declares names of {width} letters: damaged")
        names = self.element()[1].tobytes()
        fields = [
            names[i : i + width].split(b"\0")[0].decode("latin-1")
            for i in range(0, len(names), width)
        ]
        if count * len(fields) * 8 > max(len(self.content), 8):
            raise InvalidRecording(f"a struct declares {count * len(fields)} parts: damaged")
        parts = np.empty((count, len(fields)), dtype=object)
        for i, j in np.ndindex(parts.shape):
            parts[i, j] = self.inner(depth)
        return Struct({x: parts[:, j].reshape(shape, order="F") for j, x in enumerate(fields)})

    def sparse(self, shape: tuple[int, ...], count: int, name: str) -> np.ndarray:
        rows, starts = self.numbers("a sparse matrix"), self.numbers("a sparse matrix")
        values = self.numbers("a sparse matrix")
        self.budget.take(8 * count, len(self.content), f"the sparse matrix {name!r}")
        used = int(starts[-1]) if len(starts) == shape[-1] + 1 and len(shape) == 2 else -1
        good = 0 <= used <= min(len(rows), len(values)) and (np.diff(starts.astype(int)) >= 0).all()
        rows = rows[: max(used, 0)].astype(int)
        if not good or starts[0] != 0 or (used and not 0 <= rows.min() <= rows.max() < shape[0]):
            raise InvalidRecording(f"the sparse matrix {name!r} is damaged")
        out = np.zeros(shape)
        out[rows, np.repeat(np.arange(shape[1]), np.diff(starts.astype(int)))] = values[:used]
        return out

    def chars(self, shape: tuple[int, ...], count: int) -> str | np.ndarray:
        kind, part = self.element()
        if kind in _TEXT:
            order = {"<": "-le", ">": "-be"}[self.order] if kind != 16 else ""
            letters = part.tobytes().decode(_TEXT[kind] + order, errors="replace")
        elif kind in _STORED:
            letters = "".join(_letters(_numbers(part, self.order + _STORED[kind])))
        else:
            raise InvalidRecording(f"a text has the unknown type {kind}: the file is damaged")
        if len(shape) != 2 or shape[0] <= 1 or len(letters) != count:
            return letters
        rows = np.array(list(letters)).reshape(shape, order="F")
        return np.array(["".join(row).rstrip() for row in rows])


def _numbers(part: memoryview, dtype: str) -> np.ndarray:
    """As many numbers as there are whole ones."""
    itemsize = np.dtype(dtype).itemsize
    return np.frombuffer(part[: len(part) // itemsize * itemsize], dtype)


def _letters(codes: np.ndarray) -> Iterator[str]:
    return (chr(code) if 0 <= code < 0x110000 else "\ufffd" for code in codes.astype(int).tolist())
