"""What every command needs and no field knows: configurations, random streams, output folders, precision."""
