from ._neuron import Neuron as Neuron
from ._surrogate import surrogate_of as surrogate_of
