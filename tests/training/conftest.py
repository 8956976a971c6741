"""Makes `media_data` importable from the rooms below."""
