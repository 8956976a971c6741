"""Other models and programs, timed beside ours; `settings.PEERS` has their names."""
