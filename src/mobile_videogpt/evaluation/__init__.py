"""How good a model is: MovingShapes, the built-in model's own benchmark."""
