"""The one error of the video road: what a user can get wrong about a video, in one sentence."""


class VideoError(ValueError):
    """A video source, or a stretch of one, that cannot be used; the message says what to do."""
