"""Reports, intervals, run folders and the style of figures."""
