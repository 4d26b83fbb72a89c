"""The ablations of virtual pooling: variants of the trained network, each trained as long."""
