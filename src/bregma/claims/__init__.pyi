from ._claim import Claim as Claim
from ._claim import Paper as Paper
from ._claim import claim as claim
from ._expect import Curve as Curve
from ._expect import Expect as Expect
