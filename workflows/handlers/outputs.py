"""What a gate hands on from outside, held to what a step may put out."""

from workflows.core.errors import UnstorableError
from workflows.core.outcomes import Completed, Failed
from workflows.engine.inputs import dump_json


def completed(output: object) -> Completed | Failed:
    """Return the success of a step with this output, or its failure if no step may have it."""
    try:
        return Completed(output, dump_json(output))
    except UnstorableError as error:
        return Failed(error.code, str(error), is_final=True)
