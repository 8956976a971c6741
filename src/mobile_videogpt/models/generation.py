"""What transformers' ``generate`` must know about videos and stills: encode once, show once.

However many beams, samples or steps follow, each is encoded once; their tokens are handed to the
model where their placeholders are processed, and to nothing else.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache

VISUAL_INPUTS = (
    "image_pixel_values",
    "video_pixel_values",
    "image_features",
    "video_features",
    "visual_embeds",
)
# With their defaults, in the order of `_still_embeds`.
STILL_INPUTS = {
    "still_pixel_values": None,
    "still_features": None,
    "still_branch": "image",
    "still_embeds": None,
}


class VideoGenerationMixin(GenerationMixin):
    """``GenerationMixin`` for a model whose ``forward`` takes ``visual_embeds``."""

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """Generate as in transformers; also takes the visual inputs of ``forward``."""
        visual = {name: kwargs.pop(name, None) for name in VISUAL_INPUTS}
        visual_embeds = self._visual_embeds(**visual)
        if visual_embeds is not None:
            kwargs["visual_embeds"] = visual_embeds
        still_embeds = self._still_embeds(*(kwargs.pop(k, v) for k, v in STILL_INPUTS.items()))
        if still_embeds is not None:
            kwargs["still_embeds"] = still_embeds
        return super().generate(inputs, *args, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As in transformers, with visual tokens only where their placeholders are processed."""
        model_inputs = super().prepare_inputs_for_generation(
            input_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        for name, token_id in self._placeholders().items():
            if model_inputs.get(name) is not None:
                processed = model_inputs.get("input_ids")
                is_decoding_step = not is_first_iteration and kwargs.get("use_cache", True)
                # A cache handed to generate may hold the whole visual prefix already.
                if is_decoding_step or (
                    processed is not None and not (processed == token_id).any()
                ):
                    model_inputs[name] = None
        return model_inputs

    def _placeholders(self) -> dict[str, int]:
        """Name of each kind of visual tokens -> its placeholder."""
        config = self.config
        return {"visual_embeds": config.video_token_id, "still_embeds": config.image_token_id}

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Repeat every row for beams or samples; a row may own no video or still, or several."""
        visual = {}
        for name, token_id in self._placeholders().items():
            embeds = model_kwargs.pop(name, None)
            if embeds is not None and expand_size > 1:
                is_placeholder = torch.eq(input_ids, token_id)  # type: ignore[arg-type]
                counts = (is_placeholder.sum(1) // embeds.shape[1]).tolist()
                order = _repeat_rows(counts, expand_size)
                embeds = embeds[torch.tensor(order, device=embeds.device)]
            visual[name] = embeds
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **model_kwargs,
        )
        model_kwargs.update({k: v for k, v in visual.items() if v is not None})
        return input_ids, model_kwargs


def _repeat_rows(videos_per_row: Sequence[int], times: int) -> list[int]:
    """Return video indices when every row is repeated in place.

    >>> _repeat_rows([1, 0, 2], 2)
    [0, 0, 1, 2, 1, 2]
    """
    order: list[int] = []
    first = 0
    for count in videos_per_row:
        order += list(range(first, first + count)) * times
        first += count
    return order
