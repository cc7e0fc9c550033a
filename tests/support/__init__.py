"""Real processes for tests: nodes, web servers, loop images. Everything started here is ended here."""
