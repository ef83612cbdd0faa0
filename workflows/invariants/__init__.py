"""What must hold in the database after whatever happened: the checks of this app's tables.

Asked in SQL of either database, without Django: whoever can run a query can ask. Each check yields
a sentence for every violation; ``mgx/verify.py`` collects those of all apps.
"""

from workflows.invariants import events, ownership, runs, steps
from workflows.invariants.asking import Check

CHECKS: tuple[Check, ...] = (
    ownership.everything_has_an_owner,
    ownership.somebody_wakes_it,
    steps.one_result_a_step,
    steps.no_step_before_its_rule,
    steps.revisions_follow_one_another,
    steps.blocks_hold_their_steps,
    runs.ends_are_final,
    runs.ended_runs_have_no_open_steps,
    runs.nothing_starts_while_paused,
    runs.sub_workflows_know_their_steps,
    events.events_are_contiguous,
    events.every_step_told_its_moves,
    events.every_run_told_its_moves,
    events.every_event_has_an_actor,
)
