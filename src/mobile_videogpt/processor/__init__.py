"""Chat messages and videos -> model inputs, labels included.

``messages`` reads the forms in which people write conversations, ``prompt`` turns them into token
ids (ChatML, one placeholder per visual token) and labels, ``processor`` is the transformers class.
"""

from mobile_videogpt.processor.processor import MobileVideoGPTProcessor

__all__ = ["MobileVideoGPTProcessor"]
