"""Networks: what they are made of, their numbers, and how they are perturbed."""
