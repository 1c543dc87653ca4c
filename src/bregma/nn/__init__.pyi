from ._delay import Delay as Delay
from ._eprop import EProp as EProp
from ._event_linear import EventLinear as EventLinear
from ._recurrent import SpikingRecurrent as SpikingRecurrent
from ._spiking import Spiking as Spiking
