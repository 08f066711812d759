"""How motion of frames shows in the feature tensors of a network (Ulhaq and Bajić, ICASSP 2021)."""
