"""Makes `media_data` and `stage_zero` importable from the rooms below."""
