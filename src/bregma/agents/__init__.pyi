from ._consolidate import Consolidated as Consolidated
from ._consolidate import consolidate as consolidate
from ._consolidate import unit_length as unit_length
from ._event_boundaries import event_boundaries as event_boundaries
from ._event_boundaries import structural_similarity as structural_similarity
from ._event_memory import EventMemory as EventMemory
from ._event_memory import Recall as Recall
