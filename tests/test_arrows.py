"""Who may know whom: ``mgx → approvals, agents → workflows → workflows.core → a few libraries``.

Read from the sources, so that an import inside a function counts like any other.
"""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from django.apps import apps

ROOT = Path(__file__).resolve().parents[1]

#: Package → the packages of this project that it may import.
ARROWS = {
    "workflows": set(),
    "approvals": {"workflows"},
    "agents": {"workflows"},
    "mgx": {"workflows", "approvals", "agents"},
}
#: What ``workflows.core`` may import besides itself and the standard library.
PURE = {"pydantic", "pydantic_core", "cel_expr_python", "yaml"}
#: Inside an app, the lower layers: none of their modules may import a higher one.
LAYERS = ["core", "querysets", "models", "services", "engine", "api"]
#: Import name → name in requirements.in, where they differ otherwise than by case and dashes.
SUPPLIED_BY = {
    "asgiref": "django",
    "jsonschema_rs": "jsonschema-rs",
    "pydantic_core": "pydantic",
    "markdown_it": "markdown-it-py",
    "prometheus_client": "prometheus-client",
    "opentelemetry": "opentelemetry-sdk",
}


def modules(package: str) -> Iterator[Path]:
    for path in sorted((ROOT / package).rglob("*.py")):
        if "migrations" not in path.parts:
            yield path


def imports(path: Path, *, at_load: bool = False) -> set[str]:
    """Return the dotted names that a module imports; only those at its own level if ``at_load``."""
    found = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_along_the_arrows_only(package: str) -> None:
    forbidden = set(ARROWS) - ARROWS[package] - {package}
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert wrong == []


def test_the_core_imports_nothing_but_itself_and_a_few_libraries() -> None:
    allowed = sys.stdlib_module_names | PURE
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules("workflows/core")
        for name in imports(path)
        if name.split(".")[0] not in allowed
        and not name.startswith("workflows.core")
        and name != "workflows"
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["workflows", "approvals", "agents"])
def test_inside_an_app_lower_layers_know_no_higher_ones(package: str) -> None:
    wrong = []
    for path in modules(package):
        layer = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if layer not in LAYERS:
            continue
        higher = {f"{package}.{name}" for name in LAYERS[LAYERS.index(layer) + 1 :]}
        wrong += [
            f"{name_of(path)} imports {name}"
            for name in imports(path, at_load=True)
            if any(name == top or name.startswith(f"{top}.") for top in higher)
        ]
    assert wrong == []


def test_foreign_keys_follow_the_arrows() -> None:
    wrong = [
        f"{model._meta.label}.{field.name} refers to {field.related_model._meta.label}"
        for model in apps.get_models()
        if model._meta.app_label in ARROWS
        for field in model._meta.get_fields()
        if field.concrete and field.is_relation
        if (target := field.related_model._meta.app_label) in ARROWS
        and target not in ARROWS[model._meta.app_label] | {model._meta.app_label}
    ]
    assert wrong == []


def test_what_is_imported_is_in_the_requirements() -> None:
    """Nothing rests on what another package happens to bring along."""
    files = ("requirements.in", "requirements-otel.in")
    required = re.findall(r"(?m)^[a-z0-9-]+", "".join((ROOT / name).read_text() for name in files))
    suppliers = packages_distributions()
    used = {
        name.split(".")[0]: name_of(path)
        for package in ARROWS
        for path in modules(package)
        for name in imports(path)
    }
    missing = {
        top: user
        for top, user in used.items()
        if top not in sys.stdlib_module_names and top not in ARROWS and top
        if SUPPLIED_BY.get(top, suppliers.get(top, [top])[0].lower()) not in required
    }
    assert missing == {}


def test_no_module_is_long_enough_to_get_lost_in() -> None:
    longest = {
        name_of(path): len(path.read_text("utf-8").splitlines())
        for package in ARROWS
        for path in modules(package)
    }
    assert {name: lines for name, lines in longest.items() if lines > 450} == {}
