"""Benchmarks: what ``manage.py bench`` measures, in a scratch database of its own."""
