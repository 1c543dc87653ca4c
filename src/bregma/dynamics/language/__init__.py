"""Neurons and synapses as text: grammar, units, methods, and the one intermediate form."""
