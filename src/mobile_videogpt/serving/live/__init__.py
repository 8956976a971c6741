"""Questions about live video, asked again and again: `mobile-videogpt watch`.

``watch`` is the loop; ``changes`` tells when the scene is another one, ``conditions`` when an
answer has held long enough to act on, ``actions`` runs what is to be run, ``subtitles`` writes the
answers down as SRT. Needs no extra.
"""
