from ._images import sample_images as sample_images
from ._simulated import Simulated as Simulated
from ._v1 import v1_population as v1_population
from ._task import Task as Task
from ._digits import digits as digits
