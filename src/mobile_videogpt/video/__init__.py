"""From bytes to pixels: the only road a video takes into the model, for every use.

``sampling`` says which frames, ``source`` reads them, ``transforms`` makes the two encoders' inputs.
"""

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.sampling import sample_frame_indices

__all__ = ["VideoError", "sample_frame_indices"]
