"""What a training run will take: memory and time, from stated formulas and measured steps."""
