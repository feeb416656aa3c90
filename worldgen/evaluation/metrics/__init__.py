"""What is measured, each by formula and with the truth beside it.

image        PSNR, SSIM and depth errors
perceptual   sharpness and FLIP: what PSNR does not say
intervals    means and paired differences over scenes with bootstrap intervals
consistency  whether new views agree with each other
pose         where images were taken from, by rendering and comparing
control      whether generated views are where their cameras are
loops        once round a scene and back
"""
