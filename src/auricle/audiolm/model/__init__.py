"""The model: an autoregressive half, a non-autoregressive half, and beside them the delay pattern."""
