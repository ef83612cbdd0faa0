"""The pure tier: no database, no clock, no network."""

from hypothesis import settings

# Two busy cores say nothing about how long an example takes.
settings.register_profile("core", deadline=None)
settings.load_profile("core")
