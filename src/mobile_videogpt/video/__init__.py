"""From bytes to pixels: the only road a video takes into the model, for every use.

``source`` opens anything and reads the frames that ``sampling`` chooses (``container`` and
``frame_index`` for files, ``stills`` for pictures, ``rgb`` for every pixel format); ``transforms``
makes the two encoders' inputs.
"""
