"""Claims whose mechanism lives in `bregma.population`."""
