from ._layout import Layout as Layout
from ._load import load as load
from ._nulls import shuffled as shuffled
from ._nulls import untrained as untrained
from ._perturbations import Ablate as Ablate
from ._perturbations import Add as Add
from ._perturbations import Clamp as Clamp
from ._perturbations import Noise as Noise
from ._perturbations import Patch as Patch
from ._perturbations import Perturbation as Perturbation
from ._preprocess import ImageInput as ImageInput
from ._recorded import RecordedSystem as RecordedSystem
from ._site import Site as Site
from ._system import System as System
from ._torch import TorchSystem as TorchSystem

__all__ = [
    "Ablate",
    "Add",
    "Clamp",
    "ImageInput",
    "Layout",
    "Noise",
    "Patch",
    "Perturbation",
    "RecordedSystem",
    "Site",
    "System",
    "TorchSystem",
    "load",
    "shuffled",
    "untrained",
]
