"""The pure core of MGX: what a workflow means, without a database and without Django."""
