"""The economics: pure formulas over integers and numpy arrays."""
