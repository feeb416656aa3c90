"""How fast training is for the machine it runs on."""
