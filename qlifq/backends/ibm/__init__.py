"""Jobs on an IBM device, or on its snapshot with the same code, that no crash loses or pays twice."""
