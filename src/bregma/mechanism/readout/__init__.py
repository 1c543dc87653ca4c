"""What can be read out of a network on the way to its answer, and what reading it in does."""
