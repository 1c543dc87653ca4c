"""What runs a plan: the eager reference, one compiled loop on CPUs, kernels on GPUs."""
