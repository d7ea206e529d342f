"""The one path from volumes to planes: labels, intensities, centers, planes."""
