from . import datasets as datasets
from . import dynamics as dynamics
from . import errors as errors
from . import evidence as evidence
from . import geometry as geometry
from . import nn as nn
from . import recording as recording
from . import report as report
from . import run as run
from . import system as system
from .evidence import Evidence as Evidence
from .evidence import EvidenceSet as EvidenceSet
from .geometry import compare as compare
from .recording import Dissimilarity as Dissimilarity
from .recording import Recording as Recording
from .recording import SpikeTrains as SpikeTrains
from .recording import Stimuli as Stimuli
from .recording import read as read
from .system import TorchSystem as TorchSystem

__version__: str
