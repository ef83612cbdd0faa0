import json
from typing import Any

from django.core.management.base import BaseCommand

from workflows.core.definition_schema import definition_schema


class Command(BaseCommand):
    help = "Prints the JSON Schema of a workflow definition, for editors."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(definition_schema(), indent=2))
