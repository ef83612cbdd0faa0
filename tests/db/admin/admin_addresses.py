"""Where the admin shows what, and what its forms post."""

from html.parser import HTMLParser

from django.urls import reverse


def list_of(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row, verb="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{verb}", args=[row.pk])


def add_page_of(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def posted_by(page):
    """Return what a browser would post from an unchanged page: the fields of its form."""
    fields = _Fields()
    fields.feed(_one_newline(page.content.decode()))
    return {name: each[0] if len(each) == 1 else each for name, each in fields.posted.items()}


def _one_newline(text):
    """As browsers do with what they read."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Fields(HTMLParser):
    """Reads the form of a page, as HTML says that forms are read and posted."""

    def __init__(self):
        super().__init__()
        self.posted = {}
        self._is_form = False
        self._text = None  # what stands between two tags
        self._select = None
        self._options = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            self._is_form = given.get("id", "").endswith("_form")
        elif tag in ("textarea", "option"):
            self._text, self._given = "", given
        elif tag == "select":
            self._select, self._options = given, []
        elif tag == "input":
            kind = given.get("type", "text")
            if kind in ("checkbox", "radio"):
                if "checked" in given:
                    self._post(given, given.get("value", "on"))
            elif kind not in ("submit", "button", "reset", "image", "file"):
                self._post(given, (given.get("value") or "").replace("\n", ""))

    def handle_data(self, data):
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag):
        if tag == "form":
            self._is_form = False
        elif tag == "textarea":
            text = self._text.removeprefix("\n")
            self._post(self._given, _one_newline(text).replace("\n", "\r\n"))
            self._text = None
        elif tag == "option":
            value = self._given.get("value", self._text.strip())
            self._options.append((value, "selected" in self._given))
            self._text = None
        elif tag == "select":
            chosen = [value for value, is_selected in self._options if is_selected]
            if not chosen and "multiple" not in self._select:
                chosen = [value for value, _ in self._options[:1]]
            for value in chosen:
                self._post(self._select, value)

    def _post(self, given, value):
        if self._is_form and given.get("name") and "disabled" not in given:
            self.posted.setdefault(given["name"], []).append(value)


def messages_on(page):
    return [str(message) for message in page.context["messages"]]
