"""Tests of what silt is deployed with: image, Kubernetes, Compose, systemd. `tools.schemas()` fetches what they need."""
