"""The loop over time of one population, forward and in reverse: what trainable layers stand on."""
