"""Reading what a page answered."""

import re

from django.http import HttpResponse


def html(answer: HttpResponse) -> str:
    """The page with every run of white space as one: how its source is broken says nothing."""
    return " ".join(answer.content.decode().split())


def text(answer: HttpResponse) -> str:
    """The page's words, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


def row_titles(answer: HttpResponse) -> list[str]:
    """The names of the rows of a list, in its order."""
    links = re.findall(r"<a [^>]*data-row-link[^>]*>([^<]*)</a>", html(answer))
    return [link.replace("&amp;", "&") for link in links]


def ids_used_twice(answer: HttpResponse) -> set[str]:
    """The ids that more than one element of a page has; there may be none."""
    ids = re.findall(r'\sid="([^"]*)"', answer.content.decode())
    return {each for each in ids if ids.count(each) > 1}
