"""What the pages share: the signed-in reader, the answer to a request, lists page by page.

The modules beside this one gather what a page shows; `views.py` only asks them.
"""

from workflows.pages.answers import answer, refuse_as_page
from workflows.pages.listing import Listing, Stretch, read_words, take_page, take_stretch
from workflows.pages.reader import PageRequest, Reader, enter_workspace, page

__all__ = [
    "Listing",
    "PageRequest",
    "Reader",
    "Stretch",
    "answer",
    "enter_workspace",
    "page",
    "read_words",
    "refuse_as_page",
    "take_page",
    "take_stretch",
]
