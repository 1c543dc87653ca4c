"""Stimuli: what is shown, by name; image files are opened only when they are needed."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Shaped, UInt8

from bregma.errors import InvalidArgument, InvalidRecording, UnreadableRecording
from bregma.recording._labels import (
    Labels,
    Table,
    check_ids,
    positions,
    shown,
    table_columns,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")
MAX_PIXELS = 50_000_000  # a picture that claims more is refused before it is decoded


class Stimuli:
    """Things to show to a system, each with a distinct label.

    Parameters
    ----------
    data : array or sequence of paths
        Shape (stimulus, ...): images as (stimulus, row, column[, channel]) with whole numbers
        0 to 255 or floats 0 to 1, or any other array; or a list of image files.
    stimulus : DataFrame, mapping or sequence, optional
        Columns that describe the stimuli (labels under ``"stimulus"``), or just the labels.
        Without them files are named by their stems, arrays by ``"0"``, ``"1"``, ...
    kind : {"image", "array"}, optional
        Whether rows are images; guessed from the shape where it is not given.

    Raises
    ------
    InvalidRecording
        Nothing in it, labels that repeat, lengths that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Stimuli
    >>> Stimuli(np.zeros((3, 8, 8), dtype=np.uint8), stimulus=["a", "b", "c"])
    Stimuli(3 images)
    """

    __slots__ = ("_data", "_files", "kind", "table")
    table: pd.DataFrame
    kind: Literal["image", "array"]

    def __init__(
        self,
        data: Any,
        *,
        stimulus: Table | Iterable[Any] | None = None,
        kind: Literal["image", "array"] | None = None,
    ) -> None:
        self._files: list[Path] | None = None
        self._data: Any = None
        if isinstance(data, list | tuple) and data and isinstance(data[0], str | Path):
            self._files = [Path(file) for file in data]
            default: Any = [file.stem for file in self._files]
            if len(set(default)) < len(default):
                default = [str(file) for file in self._files]
            kind = "image"
        else:
            self._data = (
                data.detach().cpu().numpy() if hasattr(data, "detach") else np.asarray(data)
            )
            if self._data.dtype.kind not in "biuf":
                raise InvalidRecording(f"stimuli hold {self._data.dtype}; numbers are needed")
            if self._data.ndim == 0 or not len(self._data):
                raise InvalidRecording("there are no stimuli in it")
            default = np.arange(len(self._data)).astype(str)
        columns = table_columns(stimulus, "stimulus", len(default), default)
        check_ids(columns["stimulus"], "stimulus")
        ids = pd.Index(columns.pop("stimulus"), name="stimulus")
        self.table = pd.DataFrame(columns, index=ids)
        self.kind = kind or ("image" if _looks_like_images(self._data) else "array")

    @classmethod
    def from_images(cls, source: str | Path | Iterable[str | Path]) -> Stimuli:
        """Take image files of a folder (sorted by name), of a list, or images in a data file.

        Parameters
        ----------
        source : path or sequence of paths
            A folder, several files, or one ``.npz``, ``.npy`` or ``.mat`` file with images in
            it (``FILE::KEY`` says which array).

        Returns
        -------
        Stimuli
            The images, named by the stems of their files.

        Raises
        ------
        UnreadableRecording
            No images there.
        """
        if not isinstance(source, str | Path):
            return cls(list(source))
        path = Path(source)
        if path.is_dir():
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
            if not files:
                raise UnreadableRecording(
                    path, f"the folder has no images ({', '.join(IMAGE_SUFFIXES)})"
                )
            return cls(files)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return cls([path])
        from bregma.recording._read import read_images

        images, table = read_images(source)
        return cls(images, stimulus=table, kind="image")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: slice | Iterable[int]) -> Stimuli:
        index = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)]
        data = [self._files[i] for i in index] if self._files is not None else self._data[index]
        return Stimuli(data, stimulus=self.table.iloc[index], kind=self.kind)

    @property
    def ids(self) -> Labels:
        """Labels of the stimuli."""
        ids = self.table.index.to_numpy()
        return ids.astype(str) if ids.dtype.kind not in "biufUM" else ids

    def select(self, stimuli: Iterable[Any]) -> Stimuli:
        """Keep some stimuli, in the order in which they are given.

        Parameters
        ----------
        stimuli : sequence
            Labels.

        Returns
        -------
        Stimuli
            These stimuli.

        Raises
        ------
        UnknownName
            A label that is not there.
        """
        return self[positions(self.ids, np.asarray(list(stimuli)).tolist(), "stimulus")]

    def batches(self, size: int) -> Iterator[Stimuli]:
        """Go through the stimuli a few at a time.

        Parameters
        ----------
        size : int
            How many at a time.

        Yields
        ------
        Stimuli
            The next ones.
        """
        if size < 1:
            raise InvalidArgument(f"a batch needs at least one stimulus, not {size}")
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def array(self) -> Shaped[np.ndarray, "stimulus ..."]:
        """Stimuli as they are: the array, or the decoded images where all have one size.

        Returns
        -------
        array
            Shape (stimulus, ...).
        """
        if self._files is None:
            return self._data
        decoded = [_decode(file) for file in self._files]
        sizes = {image.shape for image in decoded}
        if len(sizes) > 1:
            raise InvalidArgument(
                f"the images have different sizes ({shown(sorted(sizes), 3)}); "
                "use .images(size=(rows, columns))"
            )
        return np.stack(decoded)

    def images(
        self, size: tuple[int, int] | None = None
    ) -> UInt8[np.ndarray, "stimulus row column 3"]:
        """Images in colour.

        Parameters
        ----------
        size : (rows, columns), optional
            Resize to this (bilinear, anti-aliased).

        Returns
        -------
        array
            Shape (stimulus, row, column, 3), whole numbers 0 to 255.

        Raises
        ------
        InvalidArgument
            The stimuli are no images, or have different sizes and none was asked for.
        """
        if self.kind != "image":
            raise InvalidArgument(f"these stimuli are arrays of shape {self._data.shape[1:]}")
        source = self.array() if size is None else self._rows()
        colour = (_as_colour(image) for image in source)
        if size is None:
            return np.stack(list(colour))
        return np.stack([_resize(image, size) for image in colour])

    def _rows(self) -> Iterator[Any]:
        if self._files is None:
            yield from self._data
        else:
            yield from map(_decode, self._files)

    def thumbnails(self, pixels: int = 48) -> list[str]:
        """Small pictures for figures.

        Parameters
        ----------
        pixels : int
            Length of the longer side.

        Returns
        -------
        list of str
            PNG data URIs.
        """
        from PIL import Image

        uris = []
        for row in self._rows():
            picture = Image.fromarray(_as_colour(row))
            picture.thumbnail((pixels, pixels))
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG")
            uris.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
        return uris

    def content_hash(self) -> str:
        """Hash of the stimuli and their labels.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        digest = hashlib.blake2b("\0".join(map(str, self.ids)).encode(), digest_size=32)
        for row in self._rows():
            row = np.ascontiguousarray(row)
            digest.update(f"|{row.dtype.str}|{row.shape}|".encode())
            digest.update(row.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        what = "images" if self.kind == "image" else f"arrays of shape {self._data.shape[1:]}"
        return f"Stimuli({len(self)} {what})"


def _looks_like_images(data: Any) -> bool:
    if data.ndim == 3:
        return min(data.shape[1:]) >= 4 and data.dtype == np.uint8
    return data.ndim == 4 and data.shape[-1] in (1, 3, 4)


def _decode(file: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableRecording(
                    file, f"the picture claims {picture.width} x {picture.height} pixels"
                )
            return np.asarray(picture.convert("RGB"))
    except UnreadableRecording:
        raise
    except FileNotFoundError as error:
        raise UnreadableRecording(file, "there is no such file") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UnreadableRecording(file, f"no picture can be decoded ({error})") from error


def _as_colour(image: Any) -> Any:
    if image.dtype.kind == "f":
        if image.min() < 0 or image.max() > 1:
            raise InvalidArgument(
                f"images of floats must lie between 0 and 1; these go from {image.min():.3g} "
                f"to {image.max():.3g}: rescale them, or pass kind='array'"
            )
        image = (image * 255).round()
    elif image.dtype.kind == "b":
        image = image * 255
    elif image.dtype != np.uint8 and (image.min() < 0 or image.max() > 255):
        raise InvalidArgument("images of whole numbers must lie between 0 and 255")
    image = image.astype(np.uint8)
    image = image[..., None] if image.ndim == 2 else image
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]


def _resize(image: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    rows, columns = size
    if image.shape[:2] == (rows, columns):
        return image
    return np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR))
