"""The mathematics of diffusion: noise levels, parametrisations, samplers, guidance, laws over noise levels.

Everything stands on `x = alpha x0 + sigma noise` and on one contract, the denoiser:
`(x, level, cond) -> clean x`. No network and no file is known here; conditions are passed through unseen.
"""
