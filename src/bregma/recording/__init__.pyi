from . import strategies as strategies
from ._dissimilarity import Dissimilarity as Dissimilarity
from ._read import read as read
from ._recording import Recording as Recording
from ._spikes import SpikeTrains as SpikeTrains
from ._store_spikes import save_spikes as save_spikes
from ._stimuli import Stimuli as Stimuli
from ._read import readers as readers
