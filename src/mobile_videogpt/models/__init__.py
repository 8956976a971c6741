"""The model of the paper's section 3: one file per box of its Figure 2.

Letters in shape comments, everywhere in this room:

======  =================================================================================
``B``   batch (videos)
``T``   sampled frames of a video
``S``   chunks of a video (``T = S * F``)
``F``   frames per chunk
``K``   kept frames; per chunk where a chunk axis ``S`` stands beside it, else per video
``N``   tokens per frame
``H W`` patch grid of a frame, or pixels where channels stand before it
``D``   width of an encoder
``E``   width of the language model
``L``   length of a token sequence
``V``   visual tokens of a video, or rows of the vocabulary after ``logits``
======  =================================================================================
"""
