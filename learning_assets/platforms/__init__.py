"""Where ads live: one module per platform, all behind the protocol of `source`."""
