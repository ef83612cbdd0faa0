"""The README says what is true: its settings, step types, tasks and files are those of the code."""

import re
from pathlib import Path

import pytest

from mgx.api import urlpatterns
from workflows.core.approval import Approval
from workflows.core.documents import load_document
from workflows.core.steps import STEP_TYPES
from workflows.core.validation import validate
from workflows.tasks import known_tasks

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    return README.split(title, 1)[1].split("\n**", 1)[0]


def test_names_every_setting_and_no_other() -> None:
    settings = (ROOT / "mgx/settings.py").read_text("utf-8")
    read = set(re.findall(r'env\.\w+\(\s*"(\w+)"', settings))
    table = section("**Settings**")
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M))))
    assert named == read


def test_names_every_key_of_a_gate_and_no_other() -> None:
    table = re.findall(r"^\| (`.*?) \|", section("**Approvals**").split("\n- *")[0], re.M)
    assert set(re.findall(r"`(\w+)`", "".join(table))) == set(Approval.model_fields)


def test_names_only_addresses_that_exist() -> None:
    routes = {re.sub(r"<\w+:(\w+)>", r"{\1}", str(each.pattern)) for each in urlpatterns}
    text = section("**Approvals**")
    named = set(re.findall(r"`((?:[\w-]+/)+(?:\{\w+\}/[\w-]+/)?)[`?]", text))
    assert named
    assert named <= routes


def test_names_every_step_type() -> None:
    assert set(re.findall(r"`(\w+)`", section("**Step types**"))) >= set(STEP_TYPES)


def test_names_only_tasks_that_exist() -> None:
    named = set(re.findall(r"`(\w+)`", section("**Built-in tasks**")))
    assert named <= known_tasks()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+\w+\.py)`", README))))
def test_points_to_files_that_exist(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_shows_pictures_that_exist(path: str) -> None:
    assert (ROOT / path).is_file()


def test_its_workflow_is_valid() -> None:
    text = README.split("```yaml\n", 1)[1].split("```", 1)[0]
    report = validate(load_document(text, "yaml"))
    assert report.is_valid, report.errors


def test_names_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.M), target
