"""The parts of demo.py: writer (the load), witness (a second stream), reader (downloads), archiver (silt),
verdict (do they agree?), screen (what is shown), play (the order of events)."""
