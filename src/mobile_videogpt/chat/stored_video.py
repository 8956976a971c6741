"""An encoded video on disk: its visual tokens, and the language model's state after them."""

from __future__ import annotations

from collections.abc import Sequence

from mobile_videogpt.chat.disk_cache import DiskCache
from mobile_videogpt.engines.base import Engine, Prefix, VisualTokens


class StoredVideos:
    """Encoded videos by content key, in two entries each; nothing without a cache.

    The prefix is six times as large as the tokens and needed only once a question was asked, so it
    is written then, read then, and may be evicted by itself.
    """

    def __init__(self, cache: DiskCache | None, engine: Engine) -> None:
        self.cache = cache
        self.engine = engine

    def tokens(self, key: str) -> VisualTokens | None:
        """The visual tokens of a video, if they are kept."""
        found = self.cache.read(f"{key} tokens") if self.cache is not None else None
        if found is None:
            return None
        tensors, document = found
        return VisualTokens(
            visual_embeds=tensors["visual_embeds"],
            frame_scores=tuple(document["frame_scores"]),
            kept_frames=tuple(document["kept_frames"]),
            places=None if document["places"] is None else tuple(document["places"]),
        )

    def keep_tokens(self, key: str, tokens: VisualTokens) -> None:
        """Write the visual tokens of a video."""
        if self.cache is not None:
            document = {
                "frame_scores": tokens.frame_scores,
                "kept_frames": tokens.kept_frames,
                "places": tokens.places,
            }
            self.cache.write(f"{key} tokens", {"visual_embeds": tokens.visual_embeds}, document)

    def prefix(self, key: str, token_ids: Sequence[int]) -> Prefix | None:
        """The language model's state after a video, if it is kept and was made with these ids."""
        found = self.cache.read(f"{key} prefix") if self.cache is not None else None
        if found is None or found[1]["token_ids"] != list(token_ids):
            return None
        return self.engine.load_prefix(token_ids, found[0], found[1]["gap"])

    def keep_prefix(self, key: str, prefix: Prefix) -> None:
        """Write the language model's state after a video."""
        if self.cache is not None:
            tensors = self.engine.save_prefix(prefix)
            document = {"token_ids": prefix.token_ids, "gap": prefix.gap}
            self.cache.write(f"{key} prefix", tensors, document)
