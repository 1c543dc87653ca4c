"""Sparse dictionaries: activity as sums of a few features each, learned from a stream of it."""
