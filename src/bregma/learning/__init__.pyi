from ._hebbian_subspace import HebbianSubspace as HebbianSubspace
from ._protected import Protected as Protected
from ._protected import observing as observing
from ._protected import protect as protect
from ._counter_current import CounterCurrent as CounterCurrent
from ._feedback_alignment import FeedbackAligned as FeedbackAligned
from ._feedback_alignment import feedback_aligned as feedback_aligned
