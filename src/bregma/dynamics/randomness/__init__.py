"""Random numbers as a pure function of a key and a counter, the same bits in every engine."""
