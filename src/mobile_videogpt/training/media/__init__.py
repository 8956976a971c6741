"""Training from videos, pictures and text on disk.

``recipe`` and ``run`` are the frame: ``samples`` makes rows of records, ``parameters`` says what
trains, ``trainer`` how, ``stage_results`` what is left; ``encode`` stores features of the frozen
encoders, ``features`` reads them.
"""
