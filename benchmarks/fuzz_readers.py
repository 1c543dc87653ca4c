"""Read thousands of damaged files and count what comes out: an object, a bregma error, or worse.

    python benchmarks/fuzz_readers.py --files 3000

Small valid files of every format are damaged in many ways (cut, bits flipped, bytes swapped,
headers that lie, pieces left out or put in twice, also inside of ZIP and gzip) and read in
worker processes, so that a crash of a library is seen as such. Allowed is a valid object or a
bregma error within the time and 1 GB of memory; everything else is printed and kept.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 20.0
MEGABYTES = 1000


# Valid files to begin with


def _npz(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        save(folder / f"{name}.npz", x=rng.random((7, 5)), image=np.array(list("abcdefg")),
             area=np.array(["V1", "V1", "IT", "IT", "IT"]))  # fmt: skip
    np.save(folder / "array.npy", rng.random((7, 5)))


def _mat(folder: Path) -> None:
    import scipy.io
    import scipy.sparse

    rng = np.random.default_rng(0)
    square = rng.random((5, 5))
    square += square.T
    np.fill_diagonal(square, 0)
    rdms = np.array([(square, f"hIT | S{i} | Session: 1") for i in range(2)],
                    dtype=[("RDM", "O"), ("name", "O")])  # fmt: skip
    content = {
        "x": rng.random((7, 5)),
        "names": np.array(["one", "two", "three"], dtype=object),
        "s": {"a": 1.0, "b": {"c": np.arange(5.0)}},
        "z": scipy.sparse.eye(3).tocsc(),
        "t": "text",
    }
    scipy.io.savemat(folder / "five.mat", content)
    scipy.io.savemat(folder / "packed.mat", content, do_compression=True)
    scipy.io.savemat(folder / "rdms.mat", {"RDMs": rdms}, do_compression=True)
    scipy.io.savemat(folder / "rdms_plain.mat", {"RDMs": rdms})
    scipy.io.savemat(folder / "four.mat", {"x": rng.random((7, 5)), "t": "text"}, format="4")


def _mat_7_3(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "seven.mat", "w", userblock_size=512) as file:
        file["x"] = np.random.default_rng(0).random((5, 7))
        file["x"].attrs["MATLAB_class"] = np.bytes_("double")
        parts = file.create_group("#refs#")
        parts["a"] = np.array([[104], [105]], dtype="u2")
        parts["a"].attrs["MATLAB_class"] = np.bytes_("char")
        file["names"] = np.array([[parts["a"].ref, parts["a"].ref]], dtype=h5py.ref_dtype)
        file["names"].attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_dataset("s/field", data=np.arange(6.0).reshape(2, 3), chunks=(1, 3),
                            compression="gzip")  # fmt: skip
    with (folder / "seven.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _table(folder: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(np.random.default_rng(0).random((7, 4)), columns=list("wxyz"))
    table.insert(0, "image", list("abcdefg"))
    table.to_csv(folder / "wide.csv", index=False)
    table.to_csv(folder / "wide.tsv", index=False, sep="\t")
    table.to_parquet(folder / "wide.parquet")
    table.to_parquet(folder / "bare.parquet", compression=None)


def _store(folder: Path) -> None:
    import pandas as pd

    from bregma import Dissimilarity, Recording

    rng = np.random.default_rng(0)
    recording = Recording.from_array(
        rng.random((6, 4, 5)),
        unit={"unit": list("abcde"), "area": ["V1"] * 5},
        presentation={"stimulus": list("xyzxyz"), "session": ["s"] * 6},
        time=np.arange(4) / 10,
        sessions=pd.DataFrame({"animal": ["m"]}, index=["s"]),
    )
    recording.save(folder / "own.nc")
    recording.save(folder / "own.zarr")
    other = recording.data.rename("other").to_dataset()
    other.to_netcdf(folder / "other.nc", engine="h5netcdf")
    for name in ("session", "unit", "area", "stimulus"):
        other[name] = other[name].astype(object)
    for version in (2, 3):
        other.to_zarr(folder / f"other{version}.zarr", zarr_format=version, consolidated=False)
    rdms = Dissimilarity(rng.random((2, 6)), stimuli=list("abcd"), rdms={"subject": ["a", "b"]})
    rdms.save(folder / "rdms.nc")
    rdms.save(folder / "rdms.zarr")


def _nifti(folder: Path) -> None:
    import nibabel

    values = np.random.default_rng(0).random((4, 4, 3, 6)).astype("f4")
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_zooms((1, 1, 1, 2.0))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "bold.nii")
    nibabel.save(image, folder / "bold.nii.gz")


def _mne(folder: Path) -> None:
    import mne
    import scipy.io

    rng = np.random.default_rng(0)
    signals = rng.normal(size=(3, 400)) * 1e-5
    info = mne.create_info(["C3", "Cz", "C4"], 100.0, "eeg")
    raw = mne.io.RawArray(signals, info, verbose="error")
    raw.save(folder / "signal_raw.fif", verbose="error")
    raw.save(folder / "signal_raw.fif.gz", verbose="error")
    events = np.array([[50, 0, 1], [150, 0, 2], [250, 0, 1]])
    epochs = mne.Epochs(raw, events, {"go": 1, "stop": 2}, -0.1, 0.2, baseline=None,
                        preload=True, verbose="error")  # fmt: skip
    epochs.save(folder / "signal-epo.fif", verbose="error")
    epochs.average().save(folder / "signal-ave.fif", verbose="error")
    _edf(folder / "signal.edf", signals)
    _edf(folder / "signal.bdf", signals)
    _brainvision(folder / "signal.vhdr", signals)
    chanlocs = np.array([(x, 1.0, 0.0, 0.0) for x in info["ch_names"]],
                        dtype=[("labels", "O"), ("X", "O"), ("Y", "O"), ("Z", "O")])  # fmt: skip
    marks = np.array([("go", 50.0, 0.0), ("go", 150.0, 0.0)],
                      dtype=[("type", "O"), ("latency", "O"), ("duration", "O")])  # fmt: skip
    eeg = {"data": signals * 1e6, "setname": "s", "nbchan": 3.0, "pnts": 400.0, "trials": 1.0,
           "srate": 100.0, "xmin": 0.0, "xmax": 3.99, "chanlocs": chanlocs, "event": marks,
           "epoch": np.array([]), "icawinv": np.array([]), "icasphere": np.array([]),
           "icaweights": np.array([]), "times": np.arange(400.0) * 10, "ref": "common"}  # fmt: skip
    scipy.io.savemat(folder / "signal.set", {"EEG": eeg}, appendmat=False)


def _edf(path: Path, signals: np.ndarray) -> None:
    """EDF or BDF by hand: 4 records of 1 s at 100 Hz."""
    n, is_bdf = len(signals), path.suffix == ".bdf"
    low, high = ("-8388608", "8388607") if is_bdf else ("-32768", "32767")
    head = b"\xffBIOSEMI" if is_bdf else b"0".ljust(8)
    head += b"X".ljust(80) + b"X".ljust(80) + b"01.01.2001.01.01"[:8] + b"01.01.01"
    head += str(256 * (n + 1)).encode().ljust(8) + (b"24BIT" if is_bdf else b"").ljust(44)
    head += b"4".ljust(8) + b"1".ljust(8) + str(n).encode().ljust(4)
    fields = [("C3", "Cz", "C4"), [""] * n, ["uV"] * n, ["-100"] * n, ["100"] * n, [low] * n,
              [high] * n, [""] * n, ["100"] * n, [""] * n]  # fmt: skip
    for texts, width in zip(fields, (16, 80, 8, 8, 8, 8, 8, 80, 8, 32), strict=True):
        head += b"".join(text.encode().ljust(width) for text in texts)
    counts = (signals * 1e6 / 100 * float(high)).astype("<i4").reshape(n, 4, 100)
    body = counts.transpose(1, 0, 2).reshape(-1)
    if is_bdf:
        data = body.view("u1").reshape(-1, 4)[:, :3].tobytes()
    else:
        data = body.astype("<i2").tobytes()
    path.write_bytes(head + data)


def _brainvision(path: Path, signals: np.ndarray) -> None:
    names = "".join(f"Ch{i + 1}={x},,0.1,µV\n" for i, x in enumerate(("C3", "Cz", "C4")))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\n"
        "DataOrientation=MULTIPLEXED\nNumberOfChannels=3\nSamplingInterval=10000\n\n"
        f"[Binary Infos]\nBinaryFormat=INT_16\n\n[Channel Infos]\n{names}",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20010101000000000000\n"
        "Mk2=Stimulus,S  1,50,1,0\nMk3=Stimulus,S  2,150,1,0\n",
        encoding="utf-8",
    )
    path.with_suffix(".eeg").write_bytes((signals.T * 1e7).astype("<i2").tobytes())


def _nwb(folder: Path) -> None:
    from datetime import UTC, datetime

    import pynwb

    rng = np.random.default_rng(0)
    file = pynwb.NWBFile("d", "i", datetime(2020, 1, 1, tzinfo=UTC))
    for _ in range(3):
        file.add_unit(spike_times=np.sort(rng.random(20) * 10))
    for i in range(4):
        file.add_trial(start_time=2.0 * i, stop_time=2.0 * i + 1)
    with pynwb.NWBHDF5IO(folder / "units.nwb", "w") as io_:
        io_.write(file)
    from bregma import Recording

    recording = Recording.from_array(
        rng.random((3, 4, 2)), time=np.arange(4) / 10, unit={"area": ["V1", "IT"]}
    )
    recording.save(folder / "own.nwb")


MAKERS: dict[str, Callable[[Path], None]] = {
    "npz": _npz, "mat": _mat, "mat 7.3": _mat_7_3, "table": _table, "store": _store,
    "nifti": _nifti, "mne": _mne, "nwb": _nwb,
}  # fmt: skip
KEYS = {"five.mat": "x", "packed.mat": "x", "four.mat": "x", "seven.mat": "x"}
_BESIDE = (".vmrk", ".eeg", ".fdt")  # files that belong to another one


def seeds(folder: Path) -> dict[str, Path]:
    """Valid files of every format whose libraries are installed, by name; each in its folder."""
    found = {}
    for name, make in MAKERS.items():
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True)
        try:
            make(place)
        except ImportError:
            continue
        for path in sorted(place.iterdir()):
            if path.suffix not in _BESIDE:
                found[path.name] = path
    return found


# Damage

_LIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 1 << 28, 0x7FFFFFFF, 0xFFFFFFFF,
         0x80000000)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one or a few things wrong."""
    out = bytearray(content)
    n = len(out)
    if n < 2:
        return bytes(rng.randbytes(rng.randrange(1, 50)))
    head = n if rng.random() < 0.5 else min(n, 600)  # headers are where the harm is
    kind = rng.choice(("flip", "set", "lie", "cut", "swap", "drop", "twice", "insert", "noise",
                       "digits"))  # fmt: skip
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            out[rng.randrange(head)] ^= 1 << rng.randrange(8)
    elif kind == "set":
        for _ in range(rng.choice((1, 1, 2, 8))):
            out[rng.randrange(head)] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == "lie":
        for _ in range(rng.choice((1, 2))):
            width = rng.choice((2, 4, 4, 8))
            at = rng.randrange(max(1, head // width)) * width
            lie = rng.choice(_LIES) & ((1 << 8 * width) - 1)
            out[at : at + width] = lie.to_bytes(width, rng.choice(("little", "big")))
    elif kind == "cut":
        out = out[: rng.choice((rng.randrange(1, n), max(1, n - rng.randrange(1, 20))))]
    elif kind == "swap":
        size = rng.choice((1, 4, 16, 64))
        a, b = rng.randrange(head), rng.randrange(head)
        part = bytes(out[a : a + size])
        out[a : a + size] = out[b : b + size]
        out[b : b + size] = part
    elif kind == "drop":
        a = rng.randrange(head)
        del out[a : a + rng.choice((1, 8, 64, 512))]
    elif kind == "twice":
        a = rng.randrange(head)
        out[a:a] = out[a : a + rng.choice((1, 8, 64, 512))]
    elif kind == "insert":
        a = rng.randrange(head)
        out[a:a] = rng.randbytes(rng.choice((1, 3, 8, 100)))
    elif kind == "noise":
        keep = rng.choice((4, 8, 16, 128, 512))
        out[keep:] = rng.randbytes(min(max(0, n - keep), 20000))
    else:  # numbers in text headers
        where = [i for i, x in enumerate(out[:head]) if 48 <= x <= 57]
        for i in rng.sample(where, min(len(where), 3)):
            out[i : i + 1] = rng.choice((b"9", b"0", b"-", b"99999999", b"e9", b"nan"))
    return bytes(out)


def _in_zip(content: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        wrong = rng.choice(old.namelist())
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, damaged(part, rng) if name == wrong else part)
    return out.getvalue()


def _in_mat(content: bytes, rng: random.Random) -> bytes:
    """Damage inside of the compressed variables of a MATLAB file."""
    out, at = bytearray(content[:128]), 128
    while at + 8 <= len(content):
        kind, size = (int.from_bytes(content[at + i : at + i + 4], "little") for i in (0, 4))
        part = content[at + 8 : at + 8 + size]
        if kind == 15 and rng.random() < 0.5:
            part = zlib.compress(damaged(zlib.decompress(part), rng))
        out += kind.to_bytes(4, "little") + len(part).to_bytes(4, "little") + part
        at += 8 + size
    return bytes(out)


def damage(seed: Path, place: Path, rng: random.Random) -> Path:
    """A damaged copy of a valid file (and what belongs to it) in a folder of its own."""
    place.mkdir(parents=True)
    target = place / seed.name
    if seed.is_dir():
        shutil.copytree(seed, target)
        files = sorted(file for file in target.rglob("*") if file.is_file())
        wrong = rng.choice(files)
        if rng.random() < 0.15:
            wrong.unlink()
            return target
    else:
        family = [f for f in seed.parent.iterdir() if f.stem == seed.stem and f.suffix in _BESIDE]
        for file in [seed, *family]:
            shutil.copy(file, place)
        wrong = place / rng.choice([seed.name] * 3 + [f.name for f in family])
    content = wrong.read_bytes()
    inside = rng.random() < 0.6
    if inside and wrong.suffix == ".npz":
        changed = _in_zip(content, rng)
    elif inside and wrong.suffix == ".gz":
        changed = gzip.compress(damaged(gzip.decompress(content), rng))
    elif inside and wrong.suffix == ".mat" and content.startswith(b"MATLAB 5.0"):
        changed = _in_mat(content, rng)
    else:
        changed = damaged(content, rng)
    wrong.write_bytes(changed)
    return target


# Reading in another process

WORKER = """
import json, os, resource, signal, sys, time, warnings
warnings.simplefilter("ignore")
limit = int(os.environ["FUZZ_LIMIT"])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import numpy as np
import bregma
from bregma.errors import BregmaError
out = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

def rss(key):
    with open("/proc/self/status") as file:
        return next(int(x.split()[1]) // 1024 for x in file if x.startswith(key))

for line in sys.stdin:
    path = line.strip()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before, began = rss("VmRSS"), time.perf_counter()
    try:
        thing = bregma.read(path)
        if hasattr(thing, "values"):
            assert np.isfinite(thing.values).all() and thing.values.size
        what = "object"
    except BregmaError as error:
        what = type(error).__name__
        said = str(error)
        if what == "UnreadableRecording" and os.path.basename(path.partition("::")[0]) not in said:
            what = "LEAK: the message does not name the file: " + said[:200]
    except BaseException as error:
        what = f"LEAK: {type(error).__name__}: {str(error)[:200]}"
    seconds = time.perf_counter() - began
    print(json.dumps([path, what, seconds, rss("VmHWM") - before]), file=out, flush=True)
"""


@dataclass
class Outcomes:
    """What came out of all files."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: list[tuple[str, str]] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def add(self, seed: str, path: str, what: str, seconds: float, megabytes: int) -> None:
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, megabytes)
        if megabytes > MEGABYTES:
            what = f"MEMORY: {megabytes} MB"
        self.counts[seed][what.split(":")[0]] += 1
        if what.split(":")[0] in ("LEAK", "CRASH", "HANG", "MEMORY"):
            self.faults.append((path, what))

    @property
    def files(self) -> int:
        return sum(sum(counter.values()) for counter in self.counts.values())

    def table(self) -> str:
        kinds = sorted({kind for counter in self.counts.values() for kind in counter})
        width = max(map(len, self.counts)) + 2
        lines = ["".ljust(width) + "".join(kind.rjust(len(kind) + 3) for kind in kinds)]
        for seed, counter in self.counts.items():
            cells = "".join(str(counter[kind]).rjust(len(kind) + 3) for kind in kinds)
            lines.append(seed.ljust(width) + cells)
        total = sum(self.counts.values(), Counter())
        cells = "".join(str(total[kind]).rjust(len(kind) + 3) for kind in kinds)
        lines.append("all".ljust(width) + cells)
        return "\n".join(lines)


class Worker:
    """A process that reads one file after the other and is replaced when it dies."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> tuple[str, float, int]:
        """What came out, seconds, and megabytes that the reading took at most."""
        if self.process is None:
            environment = {**os.environ, "FUZZ_LIMIT": str(16 << 30), "OMP_NUM_THREADS": "1",
                           "PYTHONFAULTHANDLER": "1"}  # fmt: skip
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, env=environment, cwd="/",
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        began = time.perf_counter()
        key = f"::{KEYS[path.name]}" if path.name in KEYS else ""
        self.process.stdin.write(f"{path}{key}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.close()
            return "HANG", SECONDS, 0
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            return f"CRASH: exit status {code}", time.perf_counter() - began, 0
        _, what, seconds, megabytes = json.loads(line)
        return what, seconds, megabytes

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def cases(valid: dict[str, Path], n: int, folder: Path, *, seed: int) -> Iterator[tuple[str, Path]]:
    """Damaged copies of the valid files in turn; first each of them as it is."""
    for i in range(n):
        name = sorted(valid)[i % len(valid)]
        place = folder / f"{i:06d}"
        if i < len(valid):
            place.mkdir(parents=True)
            for file in valid[name].parent.iterdir():
                copy = shutil.copytree if file.is_dir() else shutil.copy
                copy(file, place / file.name)
            yield name, place / name
        else:
            yield name, damage(valid[name], place, random.Random(seed * 1_000_003 + i))


def fuzz(n: int, *, seed: int, only: str = "", keep: Path | None = None) -> Outcomes:
    """Read `n` files, the valid ones included; faulty files are kept in `keep`."""
    outcomes, worker = Outcomes(), Worker()
    with tempfile.TemporaryDirectory() as room:
        valid = {k: v for k, v in seeds(Path(room) / "seeds").items() if only in k}
        try:
            for name, path in cases(valid, n, Path(room) / "cases", seed=seed):
                what, seconds, megabytes = worker.read(path)
                before = len(outcomes.faults)
                outcomes.add(name, str(path), what, seconds, megabytes)
                if len(outcomes.faults) > before and keep is not None:
                    shutil.copytree(path.parent, keep / path.parent.name, dirs_exist_ok=True)
                shutil.rmtree(path.parent)
        finally:
            worker.close()
    return outcomes


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the name of the valid file")
    parser.add_argument("--keep", type=Path, help="folder for the files with faults")
    options: Any = parser.parse_args()
    began = time.perf_counter()
    outcomes = fuzz(options.files, seed=options.seed, only=options.only, keep=options.keep)
    print(outcomes.table())
    for path, what in outcomes.faults:
        print(f"{Path(path).parent.name}/{Path(path).name}: {what}")
    print(
        f"{outcomes.files} files in {time.perf_counter() - began:.0f} s, {len(outcomes.faults)} "
        f"faults; slowest {outcomes.slowest:.2f} s, most memory {outcomes.largest} MB"
    )
    sys.exit(bool(outcomes.faults))


if __name__ == "__main__":
    main()
