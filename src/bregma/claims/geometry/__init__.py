"""Claims whose mechanism lives in `bregma.geometry`."""
