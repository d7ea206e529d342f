"""The frozen network, its refiner, and their checkpoints."""
