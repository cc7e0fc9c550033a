"""Objects on the disks of one target."""
