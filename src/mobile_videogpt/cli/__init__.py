"""The command `mobile-videogpt`, one file per subcommand; `main.main` is its entry point.

Nothing in this room imports torch or transformers at module level: `--help`, usage errors and
wrong paths answer at once. A subcommand imports what it needs inside `run`.
"""
