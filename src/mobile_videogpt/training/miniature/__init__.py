"""How the built-in model is trained: MovingShapes rendered, stage 0, and the paper's three stages.

Full-size training shares the recipe, the runner and the trainer one level up, not what is here.
"""
