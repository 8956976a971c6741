"""Makes `media_data`, `stage_zero` and `in_this_process` importable from the rooms below."""
