"""Data sets, files, encoders and waveforms."""
