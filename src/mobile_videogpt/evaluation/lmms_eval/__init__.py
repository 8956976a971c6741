"""lmms-eval's door to this package: the entry point in its group `lmms_eval.models`.

lmms-eval calls `manifest` when it starts, whatever model it is going to run. If one installed
package raises there, those after it are lost, so this file imports nothing heavy and never raises;
the classes that it names are imported when the model is asked for.
"""

from __future__ import annotations

from typing import Any

MODEL_ID = "mobile_videogpt"


def manifest() -> Any:
    """What lmms-eval registers: the classes for its simple and its chat requests, by their paths.

    Nothing (an empty tuple) beside a version of lmms-eval that has no such registry.
    """
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        return ModelManifest(
            model_id=MODEL_ID,
            simple_class_path=f"{__name__}.adapter.MobileVideoGPTSimple",
            chat_class_path=f"{__name__}.adapter.MobileVideoGPTChat",
            aliases=("mobile-videogpt",),
        )
    except Exception:
        return ()
