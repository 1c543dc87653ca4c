"""Claims whose mechanism lives in `bregma.mechanism`."""
