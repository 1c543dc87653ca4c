"""What a file may ask for: memory that its stored bytes can account for, and no more."""

from __future__ import annotations

from bregma.errors import InvalidRecording

DEFAULT_MAX_BYTES = 4_000_000_000
MAX_DEPTH = 32
_SMALL = 1 << 28
_RATIO = 200


class Budget:
    """Memory that reading one file may still take.

    Parameters
    ----------
    max_bytes : int, optional
        The most that may be taken. Where it is not given this is 4 GB, and a header that
        declares much more than the stored bytes could hold is refused as well.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self.left = DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        self.suspicious = max_bytes is None

    def check(self, declared: int, stored: int | None, what: str) -> None:
        """Refuse `declared` bytes where only `stored` bytes are in the file (None: not known)."""
        if declared > self.left:
            raise InvalidRecording(
                f"{what} would take {declared / 1e9:.3g} GB of memory, more than the "
                f"{self.left / 1e9:.3g} GB that are left; give a larger max_bytes= if it is "
                "meant to be so large"
            )
        if stored is None or not self.suspicious:
            return
        # Real numbers are never packed that tightly; what is small does no harm.
        if declared > max(_SMALL, _RATIO * stored):
            raise InvalidRecording(
                f"{what} declares {declared / 1e9:.3g} GB, but only {stored} bytes are stored: "
                "the header is damaged, or the file was made to exhaust the memory; give "
                "max_bytes= if it is meant to be so large"
            )

    def take(self, declared: int, stored: int | None, what: str) -> None:
        """Check, and count it as taken."""
        self.check(declared, stored, what)
        self.left -= declared
