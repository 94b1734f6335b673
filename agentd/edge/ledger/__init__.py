"""Kept: the record, durable before the effect."""
