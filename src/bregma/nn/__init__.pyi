from ._event_linear import EventLinear as EventLinear
from ._spiking import Spiking as Spiking
