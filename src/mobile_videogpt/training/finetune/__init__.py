"""Fine-tuning on one's own videos in one call: `finetune(FinetuneOptions(data, output))`.

``options`` says what may be chosen, ``prepare`` checks and splits the data (``split``), ``plan``
picks sizes for the memory at hand (``memory_at_hand``) and writes the recipe that the runner of
``train`` takes, ``score`` measures before and after, ``card`` writes the model card, ``run`` puts
them in order.
"""

from .options import FinetuneOptions
from .run import FinetuneResult, finetune

__all__ = ["FinetuneOptions", "FinetuneResult", "finetune"]
