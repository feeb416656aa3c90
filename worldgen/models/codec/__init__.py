"""Codecs: between images and latent frames."""
