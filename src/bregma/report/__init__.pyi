from ._html import html as html
from ._parts import Section as Section
from ._parts import TimeCourse as TimeCourse
from ._summary import summary as summary

__all__ = ["Section", "TimeCourse", "html", "summary"]
