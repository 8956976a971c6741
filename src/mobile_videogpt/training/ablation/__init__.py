"""The paper's Table 3 in miniature: the same training, one choice of the model changed at a time.

``plan`` reads which variants there are, ``features`` runs the frozen encoders once for every way to
select frames, ``job`` trains and scores one variant with one seed, ``run`` does them all.
"""
