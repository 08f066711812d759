"""Building blocks of transforms: plain torch, no codec knows another."""
