"""Running networks: in pieces, many times, in several processes, to disk; and looking at runs."""
