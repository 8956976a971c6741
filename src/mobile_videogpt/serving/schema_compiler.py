"""A process that makes a grammar of one JSON schema: standard input to standard output.

Run by `json_guides`, which ends it when it takes too long; imports neither torch nor the model.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mobile_videogpt.serving.decoding.limits import limit_process

_MEMORY = 2_000_000_000


def compile_schema(schema: str) -> dict[str, Any]:
    """`grammar`, and `error` if there is none."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(
            schema, defaults={"whitespace_flexible": False}
        )
        return {"grammar": grammar, "error": LLMatcher.validate_grammar(grammar)}
    except Exception as error:
        return {"grammar": None, "error": str(error) or type(error).__name__}


def main() -> int:
    """Serve one schema."""
    limit_process(_MEMORY)
    json.dump(compile_schema(sys.stdin.read()), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
