"""System checks: what an installation must have before it is trusted with decisions."""
