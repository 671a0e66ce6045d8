"""The trainer: a conditional diffusion model that learns from the prior and sees only the two sources at test time."""

import logging

# diffusers imports bitsandbytes wherever pyiqa has brought it along, which then misses a kernel that we never call
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "gemm_4bit_forward" not in str(record.msg))
