"""Video that is happening now: a camera, a network stream, a file that grows or plays.

``address`` says what a source is and opens it, ``clock`` when its frames were, ``effort`` which of
them are decoded, ``reader`` is the thread that keeps the latest frames and drops the others.
"""
