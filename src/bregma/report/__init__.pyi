from ._atlas import atlas as atlas
from ._decoding import as_time_course as as_time_course
from ._decoding import decoding_html as decoding_html
from ._html import html as html
from ._parts import Section as Section
from ._parts import TimeCourse as TimeCourse
from ._summary import summary as summary
