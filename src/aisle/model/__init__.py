"""Values: names, records and jobs, without I/O."""
