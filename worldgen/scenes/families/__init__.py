"""The families of scenes and the parts they are built from."""
