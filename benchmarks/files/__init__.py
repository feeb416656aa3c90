"""Random assets written by our writers and checked by other people's readers and validators."""
