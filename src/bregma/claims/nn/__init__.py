"""Claims whose mechanism lives in `bregma.nn`."""
