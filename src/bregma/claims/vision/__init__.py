"""Claims whose mechanism lives in `bregma.vision`."""
