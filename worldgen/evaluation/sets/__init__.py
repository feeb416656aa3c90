"""The sets that models are evaluated on."""
