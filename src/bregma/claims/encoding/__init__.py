"""Claims whose mechanism lives in `bregma.encoding`."""
