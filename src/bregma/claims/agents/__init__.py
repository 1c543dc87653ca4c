"""Claims whose mechanism lives in `bregma.agents`."""
