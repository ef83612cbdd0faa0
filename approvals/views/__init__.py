"""The approver's pages; each module names whose pages they are."""
