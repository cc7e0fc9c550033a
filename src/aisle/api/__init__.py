"""What is spoken over HTTP: routes, the gate and the dialects."""
