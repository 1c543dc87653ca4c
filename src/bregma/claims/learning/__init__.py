"""Claims whose mechanism lives in `bregma.learning`."""
