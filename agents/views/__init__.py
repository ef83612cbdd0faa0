"""The pages of agents: each view parses, asks one thing, and answers."""
