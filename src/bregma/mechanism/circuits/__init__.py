"""Which parts of a network act on which: patching, paths, attribution, circuits."""
