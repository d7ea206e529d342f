"""How planes, outlines, plots and pages are drawn."""
