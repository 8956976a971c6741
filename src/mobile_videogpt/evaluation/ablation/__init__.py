"""What an ablation found: intervals and differences, the paper's Table 3, and the frames kept.

The variants are trained elsewhere (`mobile-videogpt ablate`); here is what is made of their
answers. ``selection`` asks a question of its own: does selection keep the frames that matter?
"""
