"""Claims whose mechanism lives in `bregma.signals`."""
