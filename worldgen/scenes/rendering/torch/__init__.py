"""The reference renderer in torch: on any device, in any float type, with gradients."""
