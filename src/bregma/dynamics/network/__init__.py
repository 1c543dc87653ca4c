"""Networks: what they are made of, their numbers, how they are run, perturbed and looked at."""
