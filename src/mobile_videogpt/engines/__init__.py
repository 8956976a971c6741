"""How the model is executed: `load_engine` chooses, every engine offers `base.Engine`'s methods."""

from mobile_videogpt.engines.base import ENGINES, check_engine_name

__all__ = ["ENGINES", "check_engine_name"]
