from ._null_test import null_test as null_test
from ._clamped import Moment as Moment
from ._clamped import TrainingClamp as TrainingClamp
from ._clamped import clamped as clamped
from ._interacting_parts import InteractingParts as InteractingParts
