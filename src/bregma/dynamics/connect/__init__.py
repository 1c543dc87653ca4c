"""Who is connected with whom: rules, given connectomes, and what is done with graphs."""
