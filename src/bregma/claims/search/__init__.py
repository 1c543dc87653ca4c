"""Claims whose mechanism lives in `bregma.search`."""
